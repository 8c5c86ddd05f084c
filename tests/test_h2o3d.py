"""H2O-3D: a miniature official tree against its truth, what is learnt from it, bad input."""

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from ho3d_trees import edit, hands
from interhand_scene import write_mano

from handbench.cli import group
from handbench.datasets import ycb
from handbench.datasets.h2o3d import H2O3D
from handbench.datasets.ho3d import HO3Dv3
from handbench.datasets.ho3d_masks import HANDS_UNKNOWN, RIGHT, Palette, learn_sides
from handbench.errors import DataError
from handbench.frames import HO3D
from handbench.scoring.images import object_shapes
from handbench.store import decode, open_split
from handbench.synthesis import h2o3d as writer
from handbench.synthesis import writers
from handbench.synthesis.takes import draw_owners
from handbench.visibility import label_scene

pytestmark = pytest.mark.usefixtures("no_mano")

META = "train/SMB2/meta/0001.pkl"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("h2o3d") / "raw"
    writers.write_tree("h2o3d", root, ("train", "evaluation"))
    return root


@pytest.fixture(scope="module")
def shots() -> dict:
    made = writer.film(("train", "evaluation"), hands())
    return {(shot.camera, shot.frame_number): shot for shot in made}


@pytest.fixture
def tree(built: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(built, tmp_path / "raw", ignore=shutil.ignore_patterns("depth")))


def read(root: Path, split: str = "train", **options) -> tuple[list, H2O3D]:
    reader = H2O3D(split, root, **options)
    return [frame for plan in reader.plan() for frame in reader.frames(plan)], reader


def test_tree_to_hdf5_equals_the_takes(built, shots, tmp_path):
    before = {p: p.stat().st_mtime_ns for p in built.rglob("*")}
    command = ["prepare", "h2o3d", "--raw", str(built), "--out", str(tmp_path), "--workers", "1"]
    result = CliRunner().invoke(group, command, catch_exceptions=False)
    assert "expected 60,998 lines in train.txt, found 8" in result.output
    assert before == {p: p.stat().st_mtime_ns for p in built.rglob("*")}
    split = open_split("h2o3d/train", tmp_path)
    columns, info = split.columns, split.attributes
    assert len(split) == 8
    assert info["mask_colours"] == "right hand in red, object in green, left hand in blue"
    assert info["left_shape"] == "corrected"
    fitted = np.zeros(2, int)
    for row in range(8):
        name = str(split.tables["sequences"][columns["sequence"][row]])
        number = int(columns["frame_number"][row])
        shot = shots[name, number]
        assert columns["id"][row] == f"h2o3d/train/{name}/{name[-1]}/{number:04d}"
        assert split.tables["recordings"][columns["recording"][row]] == name[:-1]
        assert split.image_bytes(row) == shot.image
        np.testing.assert_allclose(columns["object/T_camera"][row], shot.object.T_camera, atol=1e-6)
        thing = str(split.tables["objects"][columns["object/name"][row]])
        assert thing == shot.object.name
        for at, (side, hand) in enumerate((("right", shot.right), ("left", shot.left))):
            lost = np.zeros(21, bool)
            if side == "left" and (name, number) == writer.INVALID_JOINTS:
                lost[[9, 10, 11, 12]] = True  # 4, 5, 6 and 18 of the files: the middle finger
            there = ~lost
            joints = columns[f"{side}/joints_m"][row]
            np.testing.assert_allclose(joints[there], hand.joints_m[there], atol=1e-6)
            pixels = columns[f"{side}/joints_px"][row]
            np.testing.assert_allclose(pixels[there], hand.joints_px[there], atol=1e-3)
            assert np.isnan(joints[lost]).all()
            assert (columns[f"{side}/joints_valid"][row] & 1 == there).all()
            posed = columns[f"{side}/mano_valid"][row]
            assert posed == (side == "right" or (name, number) != writer.INVALID_POSE)
            fitted[at] += posed
            if posed:
                for what in ("mano_pose", "mano_shape", "mano_trans_m"):
                    known = columns[f"{side}/{what}"][row]
                    np.testing.assert_allclose(known, getattr(hand, what), atol=1e-6)
        # the mask of half the width, blown up, against the scene at full size
        owner = draw_owners(shot.scene)
        codes = np.array([{"right": 1, "left": 2, "object": 3}[m.kind] for m in shot.scene.meshes])
        exact = np.where(owner >= 0, codes[owner], 0)
        assert (split.segmentation(row) == exact).mean() > 0.99
    assert fitted.tolist() == [8, 7]
    sources = split.hand_column("visibility/source")
    assert (sources == 1).sum() == 15
    assert len(set(columns["instant"])) == 5
    shapes = object_shapes(split)
    # 003_cracker_box may be turned by half, by kypt's list
    assert len(shapes["003_cracker_box"].symmetries) == 2


def test_evaluation_has_wrists_boxes_and_the_object(built, shots, capsys):
    found, reader = read(built, "evaluation")
    assert len(found) == 3
    said = capsys.readouterr().err
    assert "no other joints or labels: the truth is not released" in said
    assert "HANDBENCH_MANO" not in said
    for frame in found:
        shot = shots[frame.sequence, frame.frame_number]
        for side in ("right", "left"):
            hand, true = getattr(frame, side), getattr(shot, side)
            np.testing.assert_allclose(hand.joints_m[0], true.joints_m[0], atol=1e-6)
            assert (hand.joints_valid & 1).tolist() == [1] + [0] * 20
            low, high = true.joints_px.min(0), true.joints_px.max(0)
            np.testing.assert_allclose(hand.box_px, [*low, *(high - low)], atol=1.01)
            assert hand.box_source == 3
        np.testing.assert_allclose(frame.object.T_camera, shot.object.T_camera, atol=1e-6)
        # which hand is which is not told there
        assert set(np.unique(decode(frame.segmentation, cv2.IMREAD_UNCHANGED))) == {0, 3, 4}
        assert frame.scene is None


def test_labels_by_rendering_agree_with_those_by_masks(built):
    """Two ways to the same: all three meshes, or the authors' mask."""
    rendered, reader = read(built, masks="none")
    masked, _ = read(built)
    compared = 0
    for one, other in zip(rendered, masked):
        if other.left.mano_valid == 0:
            assert one.scene is None  # the left hand may hide the right one
            assert [mesh.kind for mesh in other.scene.meshes] == ["right", "object"]
            continue
        exact, _ = label_scene(one.scene, *reader.hands())
        codes = decode(other.segmentation, cv2.IMREAD_UNCHANGED)
        found, _ = label_scene(other.scene, *reader.hands(), mask=codes)
        for side in ("right", "left"):
            assert 0 <= exact[side].scene_hand - found[side].scene_hand < 0.03
            compared += 1
    assert compared == 14


def test_a_board_between_the_hands_hides_the_one_behind(tree):
    """The object is a wall behind the nearer hand: it hides the other wholly, and says so."""
    frame = next(f for f in read(tree, masks="none")[0] if f.sequence == "SMB2")
    by_side = {mesh.kind: mesh.verts_m for mesh in frame.scene.meshes}
    near = min(("right", "left"), key=lambda side: by_side[side][:, 2].min())
    far = "left" if near == "right" else "right"
    wall = by_side[near][:, 2].max() + 0.001
    shift = wall + 0.01 - by_side[far][:, 2].min()
    path = tree / META
    meta = pickle.loads(path.read_bytes(), encoding="latin1")
    back = np.array([0, 0, -max(shift, 0)], np.float32)
    moved = {name: meta[name] + back for name in (f"{far}HandTrans", f"{far}HandJoints3D")}
    edit(path, objRot=np.zeros(3), objTrans=np.array([0, 0, -wall]), **moved)
    square = "v -9 -9 0\nv 9 -9 0\nv 9 9 0\nv -9 9 0\nv 0 0 -.1\nf 1 2 3\nf 1 3 4\nf 1 2 5\n"
    ycb.model_path(tree / "models", "006_mustard_bottle").write_text(square)
    ycb.load_model.cache_clear()
    found, reader = read(tree, masks="none")
    ycb.load_model.cache_clear()
    frame = next(f for f in found if (f.sequence, f.frame_number) == ("SMB2", 1))
    labels, _ = label_scene(frame.scene, *reader.hands())
    assert labels[near].scene_hand == 1
    assert (labels[near].scene_vertex == labels[near].alone_vertex).all()
    assert labels[far].scene_hand == 0
    assert not labels[far].scene_vertex.any()
    in_view = labels[far].alone_finger_count[1:] > 0
    assert set(labels[far].cause[in_view]) <= {2, 3}


def test_the_left_hands_convention_is_found(tree, tmp_path, monkeypatch):
    """Trees whose left hands were posed with MANO_LEFT as released, or with negated directions."""
    (tree / "handbench_synth.json").unlink()
    monkeypatch.setenv("HANDBENCH_MANO", str(write_mano(tmp_path / "mano")))
    assert read(tree)[1].left_shape == "corrected"
    left = hands()["left"]
    turned = {"negated": replace(left, shapedirs=-left.shapedirs)}
    flip = np.array([-1.0, 1, 1])[:, None]
    faulty = replace(left, shapedirs=left.shapedirs * flip)
    turned["as released"] = faulty
    for name, model in turned.items():
        if name == "as released":
            content = pickle.loads((tmp_path / "mano/MANO_LEFT.pkl").read_bytes())
            content["shapedirs"] = faulty.shapedirs
            (tmp_path / "mano/MANO_LEFT.pkl").write_bytes(pickle.dumps(content, protocol=2))
        for path in tree.glob("train/*/meta/*.pkl"):
            meta = pickle.loads(path.read_bytes(), encoding="latin1")
            if meta["objRot"] is None:
                continue
            pose, shape, trans = (meta[k] for k in ("leftHandPose", "handBeta", "leftHandTrans"))
            joints = model.pose(pose[None], shape[None])[1][0] + trans
            edit(path, leftHandJoints3D=joints[np.argsort(HO3D)])
        found, reader = read(tree)
        assert reader.left_shape == name
        assert max(f.left.fit_error_mm for f in found if f.left.mano_valid) < 0.01
        again = pickle.loads(pickle.dumps(reader))
        assert (again.hands()[1].shapedirs == reader.hands()[1].shapedirs).all()


def test_colours_of_hands_are_learnt_or_left_open():
    colour = np.zeros((480, 640), np.uint8)
    colour[:, :200], colour[:, 200:400], colour[:, 400:] = 4, 2, 1  # blue, green, red
    right, left = np.full((30, 2), 50.0), np.tile([500.0, 100.0], (30, 1))
    told = learn_sides([(colour, right, left)]).told()
    assert told == "left hand in red, object in green, right hand in blue"
    told = learn_sides([(colour, right, left), (colour, left, left)]).told()
    assert told == "hand in red, object in green, right hand in blue"
    assert learn_sides([]) == Palette((0, 0, 3, 0, 0, 0, 0, 0))
    assert RIGHT not in HANDS_UNKNOWN.codes


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"objRot": None}, "not annotated"),
        ({"rightHandJoints3D": np.full((21, 3), np.nan)}, "rightHandJoints3D not finite"),
        ({"leftHandPose": np.full(48, np.nan)}, "leftHandPose not finite"),
        ({"camMat": ...}, "meta lacks camMat"),
        (
            {"leftHandJoints3D": None, "rightHandJoints3D": np.zeros((21, 3))},
            "no valid hand",
        ),
    ],
)
def test_unusable_frames_are_skipped_with_the_reason(tree, changes, reason):
    edit(tree / META, **changes)
    found, reader = read(tree)
    assert len(found) == 7
    assert [reason in key for key in reader.skipped] == [True]
    with pytest.raises(DataError, match=f"train/SMB2, frame 0001: .*{reason}"):
        read(tree, strict=True)


def test_a_hand_alone_is_kept(tree):
    """Degenerate joints of one hand: in the picture, not annotated; no labels without a mask."""
    edit(tree / META, leftHandJoints3D=np.zeros((21, 3)))
    at = {(f.sequence, f.frame_number): f for f in read(tree)[0]}["SMB2", 1]
    assert (at.right.present, at.left.present) == (1, 2)
    assert at.scene is not None
    at = {(f.sequence, f.frame_number): f for f in read(tree, masks="none")[0]}["SMB2", 1]
    assert at.scene is None


def test_a_hand_without_a_pose_keeps_its_joints(tree):
    edit(tree / META, leftHandPose=None, leftHandTrans=None)
    at = {(f.sequence, f.frame_number): f for f in read(tree)[0]}["SMB2", 1]
    assert (at.left.present, at.left.mano_valid, at.right.mano_valid) == (1, 0, 1)


def test_without_masks_it_is_still_no_ho3d(tree, capsys):
    for folder in tree.glob("*/*/segr"):
        shutil.rmtree(folder)
    found, _ = read(tree)
    assert len(found) == 8 and found[0].segmentation is None
    assert "no masks (SEQ/segr) found" in capsys.readouterr().err
    with pytest.raises(DataError, match="holds H2O-3D, not ho3d_v3"):
        HO3Dv3("train", tree)


def test_partial_and_foreign_trees(tree, tmp_path):
    shutil.rmtree(tree / "train/GCB0/rgb")
    (tree / "train/GCB1/rgb/x.jpg").write_bytes(b"an extra file")
    found, reader = read(tree)
    assert len(found) == 5
    assert reader.attributes()["missing"] == 3
    (tree / META).write_bytes(b"cbuiltins\neval\n(S'1'\ntR.")
    with pytest.raises(DataError, match=r"asks for builtins\.eval"):
        read(tree)
    with pytest.raises(DataError, match="holds H2O-3D, not ho3d_v3: handbench prepare h2o3d"):
        HO3Dv3("train", tree)
