"""What is installed is one package, complete, and never in the way of somebody's `datasets`."""

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import yaml

from handbench import __version__

ROOT = Path(__file__).resolve().parent.parent


def run(*command, cwd, site=(), code=0, **environment):
    paths = os.pathsep.join(map(str, site))
    done = subprocess.run(
        [str(part) for part in command],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """The wheel, built from a copy of the tracked and new files so that nothing is left behind."""
    source = tmp_path_factory.mktemp("source")
    listed = subprocess.run(
        ["git", "ls-files", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.splitlines()
    for name in listed:
        if (ROOT / name).is_file() and not name.startswith("tests/"):
            target = source / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation"]
    run(*command, "-w", out, source, cwd=out)
    return next(out.glob("*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    site = tmp_path_factory.mktemp("site")
    run(sys.executable, "-m", "pip", "install", "-q", "--no-deps", "-t", site, wheel, cwd=site)
    return site


@pytest.fixture
def other_datasets(tmp_path) -> Path:
    """Stands for a site-packages in which another `datasets` is installed."""
    package = tmp_path / "elsewhere" / "datasets"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("WHOSE = 'theirs'\n")
    return package.parent


def test_the_wheel_holds_one_package_with_its_data(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {"handbench"}
    inside = set(names)
    for needed in (
        "handbench/assets/open_hand.npz",
        "handbench/assets/grasps.npz",
        "handbench/methods/recipes/h2onet_synthetic.toml",
        "handbench/datasets/synthetic.py",
        "handbench/results/__init__.py",
        "handbench/py.typed",
    ):
        assert needed in inside, needed
    for room, package in (
        ("methods", "handbench/methods"),
        ("methods/parts", "handbench/methods/parts"),
        ("datasets", "handbench/datasets"),
        ("handbench/synthesis", "handbench/synthesis"),
        ("handbench/cli", "handbench/cli"),
    ):
        for file in (ROOT / room).glob("*.py"):
            assert f"{package}/{file.name}" in inside, file
    pages = {f"handbench/{each.relative_to(ROOT)}" for each in ROOT.glob("docs/**/*.md")}
    assert pages == {name for name in names if name.startswith("handbench/docs/")}


def test_the_citation_is_of_this_version():
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert cited["version"] == __version__
    assert len(cited["references"]) == 4


def test_the_installed_wheel_works_away_from_the_checkout(installed, tmp_path):
    command = [sys.executable, "-P", "-m", "handbench"]
    where = run(
        sys.executable, "-c", "import handbench; print(handbench.__file__)", cwd=tmp_path,
        site=[installed],
    )  # fmt: skip
    assert str(installed) in where
    assert "h2onet" in run(*command, "list", "methods", cwd=tmp_path, site=[installed])
    run(
        *command, "prepare", "synthetic", "--split", "val", "--limit", "8", "--out", "data",
        cwd=tmp_path, site=[installed],
    )  # fmt: skip
    assert (tmp_path / "data" / "synthetic" / "val" / "index.h5").is_file()
    run(
        *command, "show", "synthetic/val", "--index", "3", "--out", "look.png",
        cwd=tmp_path, site=[installed], HANDBENCH_DATA=str(tmp_path / "data"),
    )  # fmt: skip
    assert (tmp_path / "look.png").stat().st_size > 10_000


@pytest.mark.parametrize("mode", ["checkout", "wheel"])
def test_messages_name_pages_that_are_there(mode, installed, tmp_path):
    code = (
        "from handbench.datasets import TABLE; from handbench.datasets.trees import page; "
        "from handbench.files import document; "
        "print(*map(page, TABLE), *map(document, ('adapters.md', 'tutorial.md')))"
    )
    site = [installed] if mode == "wheel" else []
    for place in (ROOT, tmp_path):
        told = run(sys.executable, "-P", "-c", code, cwd=place, site=site).split()
        assert len(told) == 10 and all((place / name).is_file() for name in told)
        inside = mode == "checkout" and place == ROOT
        assert inside == ("docs/datasets/fpha.md" in told), told


@pytest.mark.parametrize("mode", ["checkout", "wheel"])
def test_another_datasets_package_is_found_by_its_name(mode, installed, other_datasets, tmp_path):
    code = (
        "import handbench.datasets, datasets; "
        "assert datasets.WHOSE == 'theirs'; "
        "assert 'synthetic' in handbench.datasets.TABLE"
    )
    site = [other_datasets] + ([installed] if mode == "wheel" else [])
    run(sys.executable, "-P", "-c", code, cwd=ROOT if mode == "checkout" else tmp_path, site=site)


def test_the_checkout_on_sys_path_is_no_datasets_package():
    code = (
        "try:\n    import datasets\n"
        "except ImportError as error:\n    assert 'handbench.datasets' in str(error)\n"
        "else:\n    raise SystemExit('our folder was taken for a package')"
    )
    run(sys.executable, "-c", code, cwd=ROOT)


def test_python_m_handbench_works_from_the_checkout(tmp_path):
    assert "prepare" in run(sys.executable, "-m", "handbench", "--help", cwd=ROOT)


def test_help_needs_no_heavy_package():
    code = (
        "import sys\n"
        "from importlib import import_module\n"
        "from handbench.cli import COMMANDS\n"
        "for target, _ in COMMANDS.values():\n    import_module(target.partition(':')[0])\n"
        "heavy = {'torch', 'h5py', 'matplotlib', 'numba', 'cv2', 'scipy', 'pandas', 'numpy'}\n"
        "found = heavy & set(sys.modules)\n"
        "assert not found, found"
    )
    run(sys.executable, "-P", "-c", code, cwd=ROOT)
