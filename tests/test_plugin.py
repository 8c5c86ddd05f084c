"""The tutorial's method, in a package outside the repository, trains and scores as printed."""

import importlib
import re
import sys
import tomllib
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from handbench import registry, result
from handbench.cli.eval import evaluate
from handbench.cli.list import names
from handbench.cli.train import train
from handbench.training import runs

TUTORIAL = Path(__file__).resolve().parent.parent / "docs" / "tutorial.md"


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """The tutorial's files, installed: on the path, with the entry points of their pyproject."""
    text = TUTORIAL.read_text(encoding="utf-8")
    blocks = dict(re.findall(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", text, re.DOTALL))
    assert set(blocks) == {"pyproject.toml", "my_method.py"}
    assert sum(content.count("\n") for content in blocks.values()) <= 80
    site = tmp_path / "site"
    info = site / "my_method-0.1.dist-info"
    info.mkdir(parents=True)
    project = tomllib.loads(blocks["pyproject.toml"])["project"]
    points = project["entry-points"]["handbench.methods"]
    lines = ["[handbench.methods]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    (site / "my_method.py").write_text(blocks["my_method.py"])
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    yield site
    sys.modules.pop("my_method", None)


def run(command, *words: str) -> Result:
    done = CliRunner().invoke(command, words)
    assert done.exit_code == 0, f"{done.output}{done.exception!r}"
    return done


def test_the_tutorials_method_trains_and_scores(package, toy_places, monkeypatch):
    assert registry.load("method", "mine").__module__ == "my_method"
    assert "mine" in run(names, "methods").stdout
    assert "no_gate" in run(names, "variants").stdout
    words = ["--data", "small", "--preset", "tiny", "--device", "cpu", "-o", "lr=0.003"]
    words += ["-o", "box_source=gt_joints"]
    for variant in ("full", "no_gate"):
        run(train, "mine", "-v", variant, "--steps", "40", "--batch", "8", *words)
    losses = [float(row.split(",")[3]) for row in runs.every()[0].log.read_text().split()[1:]]
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
    scored = run(evaluate, "--all", "--device", "cpu")
    assert "mine no_gate" in scored.stdout
    found = result.read(runs.find("mine/full").path)
    assert 0 < found.metrics["pa_mpjpe_mm"].value < found.metrics["mpjpe_mm"].value < 300
    assert found.protocol["method"]["inputs"] == "image"
    assert "epe2d_px" in found.metrics


def test_commands_in_the_tutorial_exist():
    """Every handbench command that the tutorial shows is known, and so are its options."""
    from handbench.cli import COMMANDS, group

    text = TUTORIAL.read_text(encoding="utf-8")
    shown = re.findall(r"^handbench (\S+)(.*?)(?:  #.*)?$", text, re.MULTILINE)
    assert len(shown) > 12
    for name, rest in shown:
        assert name in COMMANDS, name
        command = group.get_command(None, name)
        known = {option for parameter in command.params for option in parameter.opts}
        for option in re.findall(r"(?<!\S)--?[a-z][\w-]*", rest):
            assert option in known, f"{name} {option}"
