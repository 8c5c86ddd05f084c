"""Preparing on a Dask cluster: the same bytes as one process, and its failures in one line."""

from pathlib import Path

import pytest
from click.testing import CliRunner

from handbench.cli import group
from handbench.datasets.freihand import FreiHAND
from handbench.errors import DataError, MissingPackage
from handbench.preparing import tasks
from handbench.preparing.prepare import prepare
from handbench.synthesis import writers

# the engine's own warnings are not ours to fail by
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture(scope="module")
def raw(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("freihand") / "raw"
    writers.write_tree("freihand", root, ("training",))
    return root


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tasks, "LEAST_ROWS", 4)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (folder / "freihand/training").glob("*.h5")}


def check(raw: Path, tmp_path: Path, processes: bool) -> None:
    distributed = pytest.importorskip("distributed")
    prepare(FreiHAND("training", raw), tmp_path / "one")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=processes, dashboard_address=":0"
    ) as cluster:
        out = ["--out", str(tmp_path / "two"), "--scheduler", cluster.scheduler_address]
        command = ["prepare", "freihand", "--raw", str(raw), "--split", "training", *out]
        result = CliRunner().invoke(group, command, catch_exceptions=False)
        assert result.exit_code == 0, result.output
        one, two = contents(tmp_path / "one"), contents(tmp_path / "two")
        assert len(one) == 5
        assert one == two
        # what goes wrong on a worker is said here, and what was finished stays
        picture = raw / "training/rgb/00000002.jpg"
        shipped = picture.read_bytes()
        picture.write_bytes(shipped[:700])
        try:
            with pytest.raises(DataError, match=r"00000002\.jpg: JPEG cut short"):
                prepare(
                    FreiHAND("training", raw, strict=True),
                    tmp_path / "three",
                    scheduler=cluster.scheduler_address,
                )
        finally:
            picture.write_bytes(shipped)
    assert not (tmp_path / "three/freihand/training/index.h5").exists()


def test_two_workers_make_the_same_bytes(raw, small_parts, tmp_path):
    check(raw, tmp_path, processes=False)


@pytest.mark.slow
def test_two_processes_make_the_same_bytes(raw, small_parts, tmp_path):
    check(raw, tmp_path, processes=True)


def test_no_scheduler_no_package_and_shards(raw, tmp_path, monkeypatch):
    reader = FreiHAND("training", raw)
    with pytest.raises(DataError, match="--scheduler and --shard exclude each other"):
        prepare(reader, tmp_path, shard=(1, 2), scheduler="tcp://127.0.0.1:1")
    pytest.importorskip("distributed")
    monkeypatch.setattr("handbench.preparing.cluster.PATIENCE_S", 0.2)
    with pytest.raises(DataError, match="no Dask scheduler answers there"):
        prepare(reader, tmp_path, scheduler="tcp://127.0.0.1:1")
    monkeypatch.setitem(__import__("sys").modules, "distributed", None)
    with pytest.raises(MissingPackage, match=r"handbench\[scale\]"):
        prepare(reader, tmp_path, scheduler="tcp://127.0.0.1:1")
