"""InterHand2.6M: the miniature official tree against its truth, the real samples, and bad input."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from interhand_scene import GOLDEN, edit, hands, read, truth, write_mano

from handbench import frames
from handbench.datasets.interhand26m import InterHand26M
from handbench.datasets.jsonstream import stream
from handbench.errors import DataError
from handbench.synthesis.interhand26m import write_tree

pytestmark = pytest.mark.usefixtures("no_mano")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "raw"))


@pytest.fixture(scope="module")
def mano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mano(tmp_path_factory.mktemp("mano"))


def by_id(scene) -> dict:
    return {frame.id: frame for frame in scene}


def test_reads_back_what_the_scene_was():
    expected, found = by_id(truth()), by_id(read(GOLDEN))
    assert list(found) == sorted(expected)
    for name, frame in found.items():
        true = expected[name]
        for field in ("sequence", "camera", "recording", "frame_number", "order", "clip", "image"):
            assert getattr(frame, field) == getattr(true, field)
        for field in ("image_path", "image_size", "official_index", "subject", "subset", "instant"):
            assert getattr(frame, field) == getattr(true, field)
        np.testing.assert_allclose(frame.K, true.K, atol=1e-9)
        np.testing.assert_allclose(frame.T_world_camera, true.T_world_camera, atol=1e-9)
        for side in ("right", "left"):
            hand, true_hand = getattr(frame, side), getattr(true, side)
            assert (hand is None) == (true_hand is None)
            if hand is None:
                continue
            np.testing.assert_allclose(hand.joints_m, true_hand.joints_m, atol=1e-6)
            np.testing.assert_allclose(hand.joints_px, true_hand.joints_px, atol=1e-3)
            assert (hand.joints_valid == true_hand.joints_valid).all()
            low, high = true_hand.joints_px.min(0), true_hand.joints_px.max(0)
            np.testing.assert_allclose(hand.box_px, [*low, *(high - low)], atol=1e-3)
            assert hand.mano_valid == 0
            assert hand.joints_kind == 2


def test_fits_become_meshes_in_the_camera_frame(mano, monkeypatch):
    monkeypatch.setenv("HANDBENCH_MANO", str(mano))
    expected = by_id(truth())
    without = 0
    for frame in read(GOLDEN):
        true = expected[frame.id]
        if true.left is not None and not true.left.mano_valid:
            assert frame.scene is None
            without += 1
            continue
        assert [m.kind for m in frame.scene.meshes] == [m.kind for m in true.scene.meshes]
        for mesh, true_mesh in zip(frame.scene.meshes, true.scene.meshes):
            np.testing.assert_allclose(mesh.verts_m, true_mesh.verts_m, atol=1e-6)
            hand = getattr(frame, mesh.kind)
            true_hand = getattr(true, mesh.kind)
            np.testing.assert_allclose(hand.mano_trans_m, true_hand.mano_trans_m, atol=1e-6)
            np.testing.assert_allclose(hand.mano_pose[3:], true_hand.mano_pose[3:], atol=1e-6)
            assert hand.mano_valid == 1
            assert hand.fit_error_mm < 15
    assert without == 2


def test_without_the_regressor_a_fit_is_judged_by_manos_own_joints(mano, tmp_path, monkeypatch):
    for path in mano.glob("*.pkl"):
        shutil.copy(path, tmp_path)
    monkeypatch.setenv("HANDBENCH_MANO", str(tmp_path))
    assert InterHand26M("test", raw=GOLDEN).attributes()["fit_error_joints"] == "mano"
    # MANO's tip numbers name vertices near the open hand's tips
    assert 0.1 < read(GOLDEN)[0].right.fit_error_mm < 5
    regressor = tmp_path / "J_regressor_mano_ih26m.npy"
    regressor.write_bytes((mano / regressor.name).read_bytes()[:60])
    with pytest.raises(DataError, match=r"ih26m\.npy is no numpy file"):
        read(GOLDEN)
    np.save(regressor, np.zeros((778, 21)))
    with pytest.raises(DataError, match=r"expected \(21, 778\), found \(778, 21\)"):
        read(GOLDEN)


def test_a_bad_fit_spoils_the_labels_of_both_hands(tree, mano, monkeypatch):
    monkeypatch.setenv("HANDBENCH_MANO", str(mano))

    def shift(fits):
        fits["0"]["2017"]["left"]["trans"][0] += 0.03

    edit(tree, "MANO_NeuralAnnot", shift)
    frame = read(tree)[0]
    assert frame.left.fit_error_mm > 15
    assert frame.right.fit_error_mm < 15
    assert frame.scene is None


def test_reader_survives_pickling_and_never_writes(tree):
    before = {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    reader = InterHand26M("test", raw=tree)
    plans = reader.plan()
    copy, plan = pickle.loads(pickle.dumps((reader, plans[0])))
    assert [f.id for f in copy.frames(plan)] == [f.id for f in reader.frames(plans[0])]
    assert before == {path: path.stat().st_mtime_ns for path in tree.rglob("*")}
    assert [p.rows for p in plans] == [3] * 6
    assert plans[0].recording == plans[1].recording != plans[2].recording


def test_annotation_choices(tree):
    assert len(read(tree, annotation="human")) == 6
    assert {f.subset for f in read(tree, annotation="machine")} == {2}
    (tree / "aid_human_annot_test.txt").unlink()
    assert {f.subset for f in read(tree)} == {0}
    with pytest.raises(DataError, match=r"aid_human_annot_test\.txt"):
        InterHand26M("test", raw=tree, annotation="human")
    for path in sorted(tree.glob("annotations/test/*_test_*")):  # val is of machines alone
        (tree / "annotations/val").mkdir(exist_ok=True)
        path.rename(tree / "annotations/val" / path.name.replace("_test_", "_val_"))
    (tree / "images/test").rename(tree / "images/val")
    found = InterHand26M("val", raw=tree, annotation="machine")
    assert sum(plan.rows for plan in found.plan()) == 18
    with pytest.raises(DataError, match="val has machine annotation only"):
        InterHand26M("val", raw=tree, annotation="human")


def test_one_side_keeps_both_meshes(mano, monkeypatch):
    monkeypatch.setenv("HANDBENCH_MANO", str(mano))
    found = read(GOLDEN, side="right")
    both = {frame.id: frame.left for frame in read(GOLDEN)}
    for frame in found:  # the other hand is in the picture as before
        assert (frame.left is None) == (both[frame.id] is None)
        assert frame.left is None or (frame.left.present == 2 and frame.left.mano_valid == 0)
    assert [mesh.kind for mesh in found[0].scene.meshes] == ["right", "left"]


def test_odd_file_names_are_taken_from_the_json(tree):
    old = "Capture0/0266_dh_pray/cam400026/image2017.jpg"

    def rename(data):
        image = next(image for image in data["images"] if image["file_name"] == old)
        image["file_name"] = "elsewhere/first.jpg"

    edit(tree, "data", rename)
    (tree / "images/test/elsewhere").mkdir()
    (tree / "images/test" / old).rename(tree / "images/test/elsewhere/first.jpg")
    frame = read(tree)[0]
    assert frame.image_path == "images/test/elsewhere/first.jpg"
    assert frame.frame_number == 2017


def test_first_release_and_inner_folder(tree):
    old = tree / "annotations" / "all"
    (tree / "annotations" / "test").rename(old)
    name = "InterHand2.6M_test_{}.json"
    (old / name.format("MANO_NeuralAnnot")).rename(old / name.format("MANO"))
    path = old / name.format("joint_3d")
    bare = {
        capture: {frame: value["world_coord"] for frame, value in moments.items()}
        for capture, moments in json.loads(path.read_text()).items()
    }
    path.write_text(json.dumps(bare))
    inner = tree / "InterHand2.6M_5fps_batch1"
    inner.mkdir()
    (tree / "images").rename(inner / "images")
    reader = InterHand26M("test", raw=tree)
    found = [frame for plan in reader.plan() for frame in reader.frames(plan)]
    assert reader.attributes()["dataset_version"] == "v0.0 5 fps"
    expected = by_id(truth())
    for frame in found:
        assert (frame.right is None) == (expected[frame.id].right is None)


def test_missing_pictures_are_counted_and_break_the_clip(tree):
    (tree / "images/test/Capture0/0266_dh_pray/cam400026/image2023.jpg").unlink()
    (tree / "images/test/Capture0/notes.txt").write_text("an extra file")
    reader = InterHand26M("test", raw=tree)
    plan = reader.plan()[0]
    assert reader.attributes()["missing"] == 1
    assert plan.rows == 2
    assert [f.order for f in reader.frames(plan)] == [0, 1]
    assert [f.clip for f in reader.frames(plan)] == [0, 1]


def test_absent_hands_are_told_by_the_flags_alone(tree):
    def plausible(joints):
        joints["1"]["2617"]["world_coord"][33] = [5.0, 6.0, 900.0]

    edit(tree, "joint_3d", plausible)
    assert all(frame.left is None for frame in read(tree) if "thumbup" in frame.id)


def test_interacting_hand_without_joints_is_present_but_not_annotated(tree):
    def lose(joints):
        joints["0"]["2017"]["joint_valid"] = [[True]] * 21 + [[False]] * 21

    edit(tree, "joint_3d", lose)
    frame = read(tree)[0]
    assert (frame.right.present, frame.left.present) == (1, 2)
    assert np.isnan(frame.left.joints_m).all()


def test_streaming_crosses_block_borders(tmp_path, monkeypatch):
    monkeypatch.setattr("handbench.datasets.jsonstream.BLOCK", 7)
    content = {"info": "x", "a": [12345, {"b": [1.5, "}]"]}], "c": {"d": 67890, "e": []}, "f": []}
    path = tmp_path / "some.json"
    path.write_text(json.dumps(content, indent=1))
    assert dict(stream(path)) == {
        ("a", 0): 12345,
        ("a", 1): {"b": [1.5, "}]"]},
        ("c", "d"): 67890,
        ("c", "e"): [],
    }


def test_committed_tree_is_what_the_script_writes(tmp_path):
    write_tree(tmp_path, "test", truth(), hands())
    kept = {path.relative_to(GOLDEN) for path in GOLDEN.rglob("*") if path.is_file()}
    assert kept == {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    for path in kept:
        if path.suffix == ".json":
            new, old = (leaves(json.loads((top / path).read_text())) for top in (tmp_path, GOLDEN))
            assert new.keys() == old.keys()
            numbers = [key for key, value in old.items() if not isinstance(value, str)]
            np.testing.assert_allclose(
                [new[key] or 0 for key in numbers], [old[key] or 0 for key in numbers], atol=1e-3
            )


def leaves(value, key: str = "") -> dict:
    if not isinstance(value, dict | list):
        return {key: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {k: v for name, part in items for k, v in leaves(part, f"{key}/{name}").items()}


def test_handedness_and_bones_of_the_tree():
    for frame in read(GOLDEN):
        check_anatomy(frame)


def check_anatomy(frame) -> None:
    """Bone length, depth, the thumb's side, and projection, as in any real frame."""
    for hand, sign in ((frame.right, 1), (frame.left, -1)):
        if hand is None:
            continue
        joints = hand.joints_m
        assert 0.05 < np.linalg.norm(joints[9] - joints[0]) < 0.13
        assert (joints[:, 2] > 0).all()
        normal = np.cross(joints[5] - joints[0], joints[17] - joints[0])
        assert sign * normal @ (joints[2] - joints[0]) > 0
        np.testing.assert_allclose(frames.project(joints, frame.K), hand.joints_px, atol=0.01)
