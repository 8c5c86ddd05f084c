"""What tests of training share: places, recipes of the toy methods, looking into runs."""

import torch

from handbench import checkpoint
from handbench.training import recipe, runs

SETTINGS = ["box_source=gt_joints", "lr=0.01", "augmentation.colour=0.3"]


def make(*overrides: str, method: str = "toy", **flags) -> recipe.Recipe:
    flags = {"steps": 12, "batch": 6, **flags}
    return recipe.make(
        method, preset="tiny", data="small", overrides=[*SETTINGS, *overrides], **flags
    )


def weights(run: runs.Run) -> dict[str, torch.Tensor]:
    return checkpoint.read(run.checkpoint)["model"]


def assert_same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


def elsewhere(monkeypatch, tmp_path, name: str) -> None:
    monkeypatch.setenv("HANDBENCH_RUNS", str(tmp_path / name))


def log_steps(run: runs.Run) -> list[int]:
    """The steps in a run's log, of its whole lines."""
    if not run.log.is_file():
        return []
    lines = run.log.read_text().splitlines(keepends=True)[1:]
    return [int(line.split(",")[0]) for line in lines if line.endswith("\n")]
