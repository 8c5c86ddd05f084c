"""InterHand2.6M: the miniature official tree against its truth, the real samples, and bad input."""

import json
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from interhand_scene import GOLDEN, hands, truth

from handbench import frames
from handbench.datasets.interhand26m import InterHand26M
from handbench.datasets.jsonstream import stream
from handbench.errors import DataError, HandbenchError, UnknownName
from handbench.synthesis.interhand26m import write_tree

TEST = "annotations/test/InterHand2.6M_test_{}.json"


@pytest.fixture(autouse=True)
def no_mano(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HANDBENCH_MANO", raising=False)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "raw"))


@pytest.fixture(scope="module")
def mano(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_mano(tmp_path_factory.mktemp("mano"))


def write_mano(folder: Path) -> Path:
    """The open hand in the form of a user's MANO files, and a regressor that knows its tips."""
    folder.mkdir(exist_ok=True)
    for side, hand in hands().items():
        names = ("v_template", "weights", "J_regressor", "shapedirs", "posedirs")
        content = {name: getattr(hand, name) for name in (*names, "hands_mean", "hands_components")}
        with open(folder / f"MANO_{side.upper()}.pkl", "wb") as file:
            pickle.dump({**content, "f": hand.faces.astype(np.uint32)}, file, protocol=2)
    hand = hands()["right"]
    rows = np.concatenate([hand.J_regressor, np.eye(778)[hand.tip_ids]])[frames.MANO_TIPS]
    regressor = np.empty_like(rows)
    regressor[frames.INTERHAND] = rows
    np.save(folder / "J_regressor_mano_ih26m.npy", regressor)
    return folder


def read(raw: Path, **options) -> list:
    reader = InterHand26M("test", raw=raw, **options)
    return [frame for plan in reader.plan() for frame in reader.frames(plan)]


def by_id(scene) -> dict:
    return {frame.id: frame for frame in scene}


def edit(tree: Path, kind: str, change) -> None:
    path = tree / TEST.format(kind)
    content = json.loads(path.read_text())
    change(content)
    path.write_text(json.dumps(content))


def first_image(tree: Path) -> Path:
    return sorted(tree.rglob("*.jpg"))[0]


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


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:3000]), "JPEG cut short"),
        (lambda p: p.write_bytes(b"no picture"), "no JPEG"),
        (lambda p: p.write_bytes(b""), "empty file"),
        (lambda p: shutil.copy(sorted(p.parents[1].rglob("cam41*/*.jpg"))[0], p), "size of the"),
        (lambda p: p.write_bytes(black(334, 512)), "picture all black"),
    ],
)
def test_unusable_pictures_are_skipped_with_the_reason(tree, spoil, reason):
    spoil(first_image(tree))
    reader = InterHand26M("test", raw=tree)
    found = [frame for plan in reader.plan() for frame in reader.frames(plan)]
    assert len(found) == 17
    assert [reason in key for key in reader.skipped] == [True]
    with pytest.raises(DataError, match=r"image\d+\.jpg: .*" + reason):
        read(tree, strict=True)


def black(width: int, height: int) -> bytes:
    import cv2

    return cv2.imencode(".jpg", np.zeros((height, width, 3), np.uint8))[1].tobytes()


def spoil_joint(joints):
    joints["0"]["2017"]["world_coord"][3][1] = float("nan")


def no_joint_valid(joints):
    joints["0"]["2017"]["joint_valid"] = [[False]] * 42


def no_moment(joints):
    del joints["0"]["2017"]


@pytest.mark.parametrize(
    ("change", "reason"),
    [(spoil_joint, "not finite"), (no_joint_valid, "no valid joint"), (no_moment, "moment not in")],
)
def test_unusable_moments_are_skipped_in_every_camera(tree, change, reason):
    edit(tree, "joint_3d", change)
    reader = InterHand26M("test", raw=tree)
    found = [frame for plan in reader.plan() for frame in reader.frames(plan)]
    assert len(found) == 16
    assert sum(reader.skipped.values()) == 2
    assert all(reason in key for key in reader.skipped)


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


def remove(kind):
    return lambda tree: (tree / TEST.format(kind)).unlink()


def cut(kind):
    return lambda tree: (tree / TEST.format(kind)).write_bytes(
        (tree / TEST.format(kind)).read_bytes()[:900]
    )


def change_data(change):
    return lambda tree: edit(tree, "data", change)


def widen_step(data):
    for image in data["images"]:
        image["frame_idx"] = 2000 + (image["frame_idx"] - 2000) // 6


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove("camera"), r"test_camera\.json is missing: unpack"),
        (remove("joint_3d"), r"test_joint_3d\.json is missing"),
        (cut("data"), r"test_data\.json is not JSON .*cut short"),
        (cut("camera"), r"test_camera\.json is not JSON .*cut short"),
        (lambda tree: shutil.rmtree(tree / "images"), r"images/test does not exist; unpack"),
        (lambda tree: [p.unlink() for p in tree.rglob("*.jpg")], r"none of the 18 images"),
        (
            change_data(lambda d: d["annotations"][2].update(joint_valid=[[1]] * 21)),
            r"entry annotations/2: .*expected \(42, 1\), found \(21, 1\)",
        ),
        (
            change_data(lambda d: d["images"][1].pop("camera")),
            r"entry images/1: expected a field 'camera'",
        ),
        (
            change_data(lambda d: d["annotations"].append(d["annotations"][0])),
            r"19 annotations for 18 images; expected one an image",
        ),
        (
            change_data(lambda d: d["images"].pop()),
            r"an annotation names an image that the file does not list",
        ),
        (change_data(widen_step), r"expected a frame step of 6 at 5 fps, found 1.*--fps 30"),
    ],
)
def test_broken_trees_are_one_line(tree, spoil, message):
    spoil(tree)
    with pytest.raises(DataError, match=message) as caught:
        read(tree)
    assert "\n" not in str(caught.value)


def test_wrong_place_or_name(tree, tmp_path):
    with pytest.raises(UnknownName, match="'test'"):
        InterHand26M("tset", raw=tree)
    with pytest.raises(DataError, match="needs --raw DIR"):
        InterHand26M("test")
    with pytest.raises(DataError, match="is not a folder"):
        InterHand26M("test", raw=tmp_path / "nowhere")
    marks = {
        "DexYCB": "20200709-subject-01",
        "HO-3D v2": "train/ABF10/rgb/0000.png",
        "FreiHAND": "training/rgb",
        "FPHA": "Hand_pose_annotation_v1",
    }
    for number, (name, mark) in enumerate(marks.items()):
        other = tmp_path / str(number)
        (other / mark).mkdir(parents=True)
        with pytest.raises(HandbenchError, match=f"holds {name}, not interhand26m"):
            InterHand26M("test", raw=other)


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
