"""`handbench synth` and the takes behind it: official trees that `prepare` reads, without MANO."""

import json
from dataclasses import replace
from hashlib import sha256
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from handbench import frames, registry
from handbench.cli import group
from handbench.errors import DataError, HandbenchError, UnknownName
from handbench.hand import Hand
from handbench.store import decode, open_split
from handbench.synthesis import writers
from handbench.synthesis.library import SPLITS, load_grasps
from handbench.synthesis.likeness import LOOKALIKES, object_mesh
from handbench.synthesis.takes import (
    Take,
    cameras_around,
    draw_layers,
    draw_owners,
    film_takes,
    subject_shape,
)

pytestmark = pytest.mark.usefixtures("no_mano")

SIZE = (320, 240)
K = np.array([[300.0, 0, 160], [0, 301, 118], [0, 0, 1]])
TAKES = [
    Take("late", 3, ("left",), ("006_mustard_bottle", "024_bowl"), moments=2, late=1),
    Take("pair", 4, ("right", "left"), ("025_mug",), moments=2),
    Take("empty", 3, ("right",), (), moments=1),
    Take("nobody", 3, (), ("037_scissors",), moments=1),
]


def hands() -> dict[str, Hand]:
    return {side: Hand.open(side) for side in ("right", "left")}


@pytest.fixture(scope="module")
def shots() -> list:
    return list(film_takes(TAKES, cameras_around(("a", "b"), K, SIZE), hands(), SIZE))


def run(*command: str) -> str:
    return CliRunner().invoke(group, [*command], catch_exceptions=False).output


def test_takes_are_what_was_asked_for(shots):
    found = [(s.sequence, s.camera, s.frame_number) for s in shots]
    assert found == [(t.name, c, m) for t in TAKES for c in "ab" for m in range(t.moments)]
    for shot in shots:
        kinds = [mesh.kind for mesh in shot.scene.meshes]
        sides = [side for side in ("right", "left") if getattr(shot, side) is not None]
        late = shot.frame_number < shot.take.late
        assert sorted(sides) == ([] if late else sorted(shot.take.sides))
        things = ["object", "occluder"][: len(shot.take.objects)]
        assert sorted(kinds) == sorted([*sides, *things])
        assert tuple(each.name for each in shot.objects) == shot.take.objects
        assert decode(shot.image, 1).shape == (SIZE[1], SIZE[0], 3)


def test_takes_truth_fits_together(shots):
    models = hands()
    for shot in shots:
        for side in ("right", "left"):
            hand = getattr(shot, side)
            if hand is None:
                continue
            assert (hand.mano_shape == subject_shape(shot.subject)).all()
            posed = models[side].pose(hand.mano_pose[None], hand.mano_shape[None])
            np.testing.assert_allclose(posed[1][0] + hand.mano_trans_m, hand.joints_m, atol=1e-12)
            np.testing.assert_allclose(frames.project(hand.joints_m, shot.K), hand.joints_px)
    # both cameras see the same world
    one, other = (s for s in shots if s.sequence == "pair" and s.frame_number == 1)
    points = [
        frames.to_camera(s.left.joints_m, np.linalg.inv(s.T_world_camera)) for s in (one, other)
    ]
    np.testing.assert_allclose(*points, atol=1e-12)
    assert not np.allclose(one.K, other.K)


def test_layers_show_what_is_nearest(shots):
    shot = next(s for s in shots if s.sequence == "pair")
    owner, depth = draw_layers(shot.scene)
    assert set(np.unique(owner)) <= {-1, 0, 1, 2}
    for number, mesh in enumerate(shot.scene.meshes):
        seen = depth[owner == number]
        if len(seen):
            low, high = mesh.verts_m[:, 2].min(), mesh.verts_m[:, 2].max()
            assert low - 1e-6 <= seen.min() and seen.max() <= high + 1e-6
    assert (depth[owner < 0] == 0).all()
    assert (draw_owners(replace(shot.scene, meshes=())) == -1).all()


def test_a_take_is_the_same_beside_others(shots):
    cameras = cameras_around(("a", "b"), K, SIZE)
    alone = next(film_takes(TAKES[2:3], cameras, hands(), SIZE))
    beside = next(s for s in shots if s.sequence == "empty")
    assert alone.image == beside.image
    other = next(film_takes(TAKES[2:3], cameras, hands(), SIZE, seed=1))
    assert other.image != beside.image


def test_every_likeness_has_a_grasp():
    known = {(g.object_name, g.object_seed) for split in SPLITS for g in load_grasps(split)}
    assert set(LOOKALIKES.values()) <= known
    with pytest.raises(UnknownName, match="025_mug"):
        object_mesh("025_mugg")


def digest(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def test_a_tree_can_be_prepared_at_once(tmp_path):
    raw, out = tmp_path / "raw", tmp_path / "data"
    said = run("synth", "--as", "interhand26m", str(raw), "--split", "test")
    command = f"handbench prepare interhand26m --raw {raw} --split test"
    assert command in said
    assert json.loads((raw / "handbench_synth.json").read_text())["splits"] == ["test"]
    run(*command.split()[1:], "--out", str(out), "--workers", "1")
    split = open_split("interhand26m/test", out)
    assert split.hands.is_left.any() and not split.hands.is_left.all()
    assert (split.hand_column("visibility/source") > 0).all()
    assert (split.hand_column("fit_error_mm") < 1e-2).all()
    # the same seed gives the same files, another one others
    again = tmp_path / "again"
    writers.write_tree("interhand26m", again, ["test"])
    assert digest(raw) == digest(again)
    writers.write_tree("interhand26m", again, ["test"], seed=1, force=True)
    assert digest(raw).keys() == digest(again).keys()
    assert digest(raw) != digest(again)


def test_a_tree_is_not_written_over_others(tmp_path, monkeypatch):
    (tmp_path / "mine.txt").touch()
    with pytest.raises(DataError, match="is not empty; give a new folder, or --force"):
        run("synth", "--as", "interhand26m", str(tmp_path))
    with pytest.raises(DataError, match="is a file"):
        run("synth", "--as", "interhand26m", str(tmp_path / "mine.txt"))
    with pytest.raises(HandbenchError, match="'interhand26m'"):
        run("synth", "--as", "interhand", str(tmp_path / "new"))
    with pytest.raises(UnknownName, match="split of interhand26m 'tset'"):
        run("synth", "--as", "interhand26m", str(tmp_path / "new"), "--split", "tset")
    # a writer that fails half way leaves nothing behind
    monkeypatch.setitem(writers.TABLE, "interhand26m", "test_synth:fail")
    with pytest.raises(DataError, match="half way"):
        run("synth", "--as", "interhand26m", str(tmp_path / "new"))
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def fail(root, splits, hands, seed):
    root.mkdir()
    (root / "half.txt").touch()
    raise DataError("half way")


@pytest.mark.parametrize("name", sorted(writers.TABLE))
def test_every_writer_has_a_reader(name):
    module, _, function = writers.TABLE[name].partition(":")
    assert callable(getattr(import_module(module), function))
    assert registry.load("dataset", name).needs_raw
