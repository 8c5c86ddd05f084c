"""Hand-only against hand-object: an object that rests, is lifted, is turned, or is not known."""

from dataclasses import replace

import numpy as np
import pytest
from official_split import Listed, predicted

from handbench.official.run import Options, evaluate_official
from handbench.preparing.prepare import prepare
from handbench.records import ObjectRecord
from handbench.scoring.held import held
from handbench.skinning import rotations
from handbench.store import open_split

TABLE = np.array([0.1, 0.2, 0.8])
# of the four images of each sequence: metres that the object was lifted, degrees that it was turned
LIFTED_M = [[0, 0.004, 0.02, 0.1], [0, 0, 0, 0], [0, 0.009, 0.009, 0.011]]
TURNED_DEG = [[0, 0, 0, 0], [0, 3, 8, 90], [0, 0, 0, 0]]
EXPECTED = [[0, 0, 1, 1], [0, 0, 1, 1], [0, 0, 0, 1]]


def pose(lifted_m: float, turned_deg: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = rotations(np.radians([[[0.0, turned_deg, 0.0]]]))[0, 0]
    T[:3, 3] = TABLE + [0, -lifted_m, 0]
    return T


class OnTable(Listed):
    """Objects in the world, seen by a camera that stands elsewhere in every image."""

    def frames(self, plan):
        for frame in super().frames(plan):
            camera = np.eye(4)
            camera[:3, 3] = [0.05 * frame.frame_number, 0, 0]
            world = pose(
                LIFTED_M[plan.key][frame.frame_number], TURNED_DEG[plan.key][frame.frame_number]
            )
            yield replace(
                frame,
                object=ObjectRecord("box", (camera @ world).astype(np.float32)),
                T_world_camera=camera,
            )


@pytest.fixture
def split(tmp_path, monkeypatch):
    monkeypatch.setenv("HANDBENCH_DATA", str(tmp_path))
    prepare(OnTable("evaluation"), tmp_path)
    return open_split("listed/evaluation")


def test_an_object_is_held_once_it_has_left_its_place(split):
    found = dict(zip(split.columns["id"].tolist(), held(split).tolist()))
    for sequence, expected in enumerate(EXPECTED):
        ids = [f"listed/evaluation/s{sequence:03d}/cam/{k}" for k in range(4)]
        assert [found[name] for name in ids] == expected


def test_without_poses_nothing_is_claimed(small_data):
    assert (held(open_split("small/test", small_data)) == -1).all()


def test_dexycb_scores_are_split_by_it(split, tmp_path, capsys):
    predicted(split).write(tmp_path / "p.h5")
    found = evaluate_official(
        tmp_path / "p.h5", "listed/evaluation", "dexycb_hpe", tmp_path / "out", Options()
    )
    errors, flags = found.per_sample["mpjpe_mm"], found.per_sample["held"]
    for title, flag, count in (("hand-only", 0, 7), ("hand-object", 1, 5)):
        assert found.levels[title]["mpjpe_mm"].n == count
        assert found.levels[title]["mpjpe_mm"].value == pytest.approx(errors[flags == flag].mean())
    assert "hand-only: 7 hands" in capsys.readouterr().err
