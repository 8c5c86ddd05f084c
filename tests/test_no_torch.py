"""Scoring and tables need the base install alone: no torch."""

import os
import subprocess
import sys
import venv

import pytest
from conftest import ROOT
from official_split import listed, predicted

BLOCK = """
import sys
from importlib.abc import MetaPathFinder

class NoTorch(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "torch":
            raise ImportError("torch is blocked here")

sys.meta_path.insert(0, NoTorch())
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    folder = tmp_path_factory.mktemp("base")
    split = listed(folder / "data")
    predicted(split).write(folder / "predictions.h5")
    return folder


SPLIT = "listed/evaluation"
COMMANDS = [
    ["eval", "--predictions", "predictions.h5", "--ground-truth", SPLIT, "--out", "a"],
    ["export", "ho3d", "predictions.h5", "--data", SPLIT, "--out", "pred.json"],
    ["eval", "--predictions", "pred.json", "--ground-truth", SPLIT]
    + ["--protocol", "ho3d_v2", "--subset", "--out", "b"],
    *([name, "a", "--out", "out"] for name in ("tables", "plots", "report")),
]
CALLS = """
import sys
from handbench.cli import group
for command in {commands!r}:
    group.main(command, standalone_mode=False)
assert "torch" not in sys.modules
"""


def chain(python, work, site=""):
    """Score a file, export it, score the export officially, tabulate, plot, report; one process."""
    environment = {**os.environ, "HANDBENCH_DATA": str(work / "data"), "PYTHONPATH": site}
    environment["HANDBENCH_RUNS"] = str(work / "runs")

    def call(*words):
        command = [str(python), "-P", *words]
        return subprocess.run(
            command, cwd=work, env=environment, capture_output=True, text=True, check=False
        )

    done = call("-c", CALLS.format(commands=COMMANDS))
    assert done.returncode == 0, done.stderr
    assert "PA-MPJPE" in done.stdout
    assert (work / "b" / "scores.txt").read_text().startswith("xyz_mean3d: ")
    assert (work / "out" / "report.html").is_file() and list((work / "out").glob("tables/*.csv"))
    refused = call("-m", "handbench", "train", "plain")
    assert refused.returncode == 1
    assert "torch" in refused.stderr and refused.stderr.count("\n") == 1


def test_everything_but_training_works_where_torch_cannot_be_imported(work, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(BLOCK)
    chain(sys.executable, work, str(tmp_path))


@pytest.mark.slow
def test_the_base_install_scores_and_tabulates(work, tmp_path):
    """A new environment with what `pip install handbench` brings, and nothing else."""
    venv.create(tmp_path / "venv", with_pip=True)
    python = tmp_path / "venv" / "bin" / "python"
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", ROOT]
    subprocess.run([str(part) for part in install], cwd=tmp_path, check=True, timeout=900)
    missing = "import importlib.util as u; assert u.find_spec('torch') is None"
    subprocess.run([str(python), "-c", missing], cwd=tmp_path, check=True)
    chain(python, work)
