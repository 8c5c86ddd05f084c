"""HO-3D: what is missing, broken, of another version or hostile; each with one clear line."""

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import CliRunner
from ho3d_trees import READERS, edit, read, tree
from interhand_scene import write_mano

from handbench.cli import group
from handbench.datasets import ho3d_masks
from handbench.datasets.png import png_size
from handbench.errors import DataError, HandbenchError

pytestmark = pytest.mark.usefixtures("no_mano")

META = "train/ABF10/meta/0001.pkl"
MASK = "train/ABF10/seg/0001"
PROOF = Path("/tmp/ho3d-pickle-was-run")


def copy(version: str, to: Path, *without: str) -> Path:
    """Of a tree what the sequence ABF10 needs, and evaluation."""
    unused = ("depth", "SB1[02]", "MC1", "ABF11", *without)
    root = Path(shutil.copytree(tree(version), to, ignore=shutil.ignore_patterns(*unused)))
    (root / "train.txt").write_text("ABF10/0002\nABF10/0000\nABF10/0001\n")
    return root


def cut(path: Path, share: float = 0.5) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def array(*shape: int, fill: float = np.nan) -> np.ndarray:
    return np.full(shape, fill)


SPOILT: list[tuple[str, Callable[[Path], object], str]] = [
    ("v2", lambda t: cut(t / "train/ABF10/rgb/0001.png"), "PNG cut short"),
    ("v2", lambda t: flip_a_byte(t / "train/ABF10/rgb/0001.png"), "PNG with a wrong checksum"),
    ("v3", lambda t: cut(t / "train/ABF10/rgb/0001.jpg"), "JPEG cut short"),
    ("v3", lambda t: (t / META).unlink(), "meta file missing"),
    ("v3", lambda t: cut(t / META), "meta file cannot be read"),
    ("v3", lambda t: (t / META).write_bytes(pickle.dumps([1], 2)), "holds no fields by name"),
    ("v3", lambda t: edit(t / META, camMat=...), "meta lacks camMat"),
    ("v3", lambda t: edit(t / META, camMat=array(3, 3, fill=0)), "camMat is no camera matrix"),
    ("v3", lambda t: edit(t / META, objRot=None), "not annotated"),
    ("v3", lambda t: edit(t / META, objName=None), "not annotated"),
    ("v3", lambda t: edit(t / META, objName="../../etc"), "objName is no name"),
    ("v3", lambda t: edit(t / META, handPose=array(48)), "handPose not finite"),
    ("v3", lambda t: edit(t / META, handJoints3D=array(21, 3)), "handJoints3D not finite"),
    ("v3", lambda t: edit(t / META, handJoints3D=array(20, 3)), "handJoints3D is not of shape"),
    ("v3", lambda t: edit(t / META, handBeta=["x"] * 10), "handBeta is not numeric"),
    ("v3", lambda t: edit(t / META, handJoints3D=array(21, 3, fill=-1)), "all joints in one place"),
    (
        "v3",
        lambda t: edit(t / META, handJoints3D=np.random.default_rng(0).random((21, 3))),
        "joints behind the camera",
    ),
    ("v3", lambda t: cut(t / f"{MASK}.png"), "mask cannot be decoded"),
    (
        "v3",
        lambda t: cv2.imwrite(str(t / f"{MASK}.png"), np.zeros((120, 120, 3), np.uint8)),
        "mask is 120 x 120",
    ),
]


@pytest.mark.parametrize(("version", "spoil", "reason"), SPOILT)
def test_unusable_frames_are_skipped_with_the_reason(tmp_path, version, spoil, reason):
    root = copy(version, tmp_path / "raw", "AP1*", "SB1*")
    spoil(root)
    found, reader = read(root, version)
    assert [(f.frame_number, f.order, f.clip) for f in found] == [(0, 0, 0), (2, 2, 1)]
    assert [reason in key for key in reader.skipped] == [True]
    with pytest.raises(DataError, match=rf"train/ABF10, frame 0001: .*{reason}") as caught:
        read(root, version, strict=True)
    assert "\n" not in str(caught.value)


class Shell:
    def __reduce__(self):
        return Path.write_text, (PROOF, "run")


def paint(path: Path, *bgr: int) -> None:
    cv2.imwrite(str(path), np.broadcast_to(np.array(bgr, np.uint8), (120, 160, 3)))


STOPPING: list[tuple[Callable[[Path], object], str]] = [
    (lambda t: (t / META).write_bytes(pickle.dumps({"a": Shell()}, 2)), r"0001\.pkl asks for"),
    (lambda t: (t / "train.txt").unlink(), r"train\.txt is missing"),
    (lambda t: (t / "train.txt").write_text(""), r"train\.txt is empty"),
    (lambda t: (t / "train.txt").write_bytes(b"\xff\xfe\x00"), r"train\.txt is no text"),
    (lambda t: (t / "train.txt").write_text("a/b/c"), r"train\.txt, line 1: expected SEQ/0000"),
    (lambda t: (t / "train.txt").write_text("A1/0\nA1/0\n"), r"lists a frame twice"),
    (lambda t: shutil.rmtree(t / "train/ABF10/rgb"), "none of the 3 pictures"),
    (lambda t: shutil.rmtree(t / "train"), r"train does not exist; unpack HO-3D v3 there"),
    (lambda t: paint(t / f"{MASK}.png", 0, 0, 255), "found 100.0% of the pixels red"),
    (
        lambda t: (t / "calibration/ABF1/calibration/trans_1.txt").write_text("1 2 3"),
        r"trans_1\.txt: expected a rigid",
    ),
    (
        lambda t: (t / "calibration/ABF1/calibration/trans_0.txt").unlink(),
        r"trans_0\.txt cannot be read",
    ),
    (
        lambda t: (t / "models/021_bleach_cleanser/textured_simple.obj").write_text("v 1 2 x"),
        "'v 1 2 x' is not as in an OBJ file",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), STOPPING)
def test_what_cannot_be_left_out_is_named(tmp_path, spoil, message):
    root = copy("v3", tmp_path / "raw", "AP1*", "SB1*")
    spoil(root)
    with pytest.raises(HandbenchError, match=message) as caught:
        read(root)
    assert "\n" not in str(caught.value)
    assert not PROOF.exists()


def test_exchanged_colours_of_masks_are_found_by_the_joints(tmp_path, monkeypatch):
    """Where hand and object change places, every colour is one that is expected."""
    root = copy("v3", tmp_path / "raw", "AP1*", "SB1*")
    for path in root.glob("train/*/seg/*.png"):
        mask = cv2.imread(str(path))
        cv2.imwrite(str(path), mask[..., [1, 0, 2]])
    monkeypatch.setattr(ho3d_masks, "ENOUGH", 40)
    with pytest.raises(DataError, match=r"expected most joints on the hand's colour .*found \d+%"):
        read(root)
    found, _ = read(root, masks="none")
    assert len(found) == 3


EVALUATION: list[tuple[Callable[[Path], object], str]] = [
    (lambda t: cut(t / "evaluation_xyz.json"), r"evaluation_xyz\.json: is cut short"),
    (
        lambda t: (t / "evaluation_verts.json").unlink(),
        r"evaluation_verts\.json is missing",
    ),
    (
        lambda t: (t / "evaluation_xyz.json").write_text("[[[0,0,0]]]"),
        r"holds 1 x 1 points; evaluation\.txt asks for 9 x 21",
    ),
]


@pytest.mark.parametrize(("spoil", "message"), EVALUATION)
def test_other_truth_than_the_lists_is_refused(tmp_path, spoil, message):
    root = copy("v3", tmp_path / "raw", "train")
    spoil(root)
    with pytest.raises(DataError, match=message):
        read(root, split="evaluation")


def test_truth_of_other_frames_is_left_out(tmp_path):
    root = copy("v3", tmp_path / "raw", "train")
    lines = (root / "evaluation.txt").read_text().split()
    lines[0], lines[1] = lines[1], lines[0]
    (root / "evaluation.txt").write_text("\n".join(lines))
    found, reader = read(root, split="evaluation")
    assert len(found) == 7
    assert dict(reader.skipped) == {
        "its line of evaluation_xyz.json has another wrist than its meta file": 2
    }
    edit(root / "evaluation/AP10/meta/0001.pkl", handBoundingBox=[5, 5, 5, 9])
    assert len(read(root, split="evaluation")[0]) == 6


def test_partial_downloads_are_counted(tmp_path):
    root = copy("v3", tmp_path / "raw", "AP1*", "SB1*", "seg", "models", "calibration")
    (root / "train/ABF10/rgb/0001.jpg").unlink()
    (root / "train/ABF10/rgb/notes.txt").write_text("an extra file")
    (root / "train/.DS_Store").write_text("another")
    (root / "train.txt").write_text("ABF10/0000\nABF10/0001\nABF10/0002\nXY10/0000\n")
    found, reader = read(root)
    assert [(f.frame_number, f.clip) for f in found] == [(0, 0), (2, 1)]
    counts = reader.attributes()
    names = ("expected", "missing", "missing_sequences", "masks", "mano_missing")
    assert [counts[name] for name in names] == [4, 2, 1, 0, 0]
    # neither mask nor model: what the object hides is not known, so there are no labels
    assert all(frame.scene is None and frame.right.mano_valid for frame in found)
    assert all(frame.T_world_camera is None for frame in found)
    models = str(tree("v3") / "models")
    assert all(frame.scene is not None for frame in read(root, models=models)[0])
    with pytest.raises(DataError, match="is not a folder"):
        read(root, models=str(root / "nowhere"))
    with pytest.raises(DataError, match=r"expected train/SEQ/seg in it; found none"):
        read(root, masks=str(root))
    # one command prepares both splits, and masks of evaluation do not exist
    assert READERS["v3"]("evaluation", tree("v3"), masks=str(tree("v3"))).masks is None


def test_masks_beside_the_tree(tmp_path):
    root = copy("v3", tmp_path / "raw", "AP1*", "SB1*", "models")
    place = root / "HO3D_v3_segmentations_rendered/train/ABF10"
    place.mkdir(parents=True)
    (root / "train/ABF10/seg").rename(place / "seg")
    found, reader = read(root)
    assert reader.attributes()["mask_colours"] == "object in green, right hand in blue"
    assert all(frame.segmentation and frame.scene for frame in found)


def test_a_tree_of_real_files_needs_the_users_mano(tmp_path, monkeypatch):
    root = copy("v3", tmp_path / "raw", "AP1*", "SB1*", "handbench_synth.json")
    found, reader = read(root)
    assert all(f.scene is None and f.right.mano_valid == 0 for f in found)
    assert all(f.right.joints_valid.all() for f in found)
    assert reader.attributes()["hand_model"] == {"kind": "none"}
    monkeypatch.setenv("HANDBENCH_MANO", str(tmp_path))
    with pytest.raises(DataError, match=r"holds no MANO_RIGHT\.pkl"):
        read(root)
    write_mano(tmp_path)  # its tips are other vertices than the tree's
    found, _ = read(root)
    assert all(f.scene and f.right.mano_valid and f.right.fit_error_mm < 0.01 for f in found)


def test_another_hand_model_is_noticed_by_its_joints(tmp_path):
    root = copy("v3", tmp_path / "raw", "AP1*", "SB1*")
    edit(root / META, handPose=array(48, fill=0.3))
    frame = read(root)[0][1]
    assert frame.right.fit_error_mm > 5
    assert frame.scene is None


def test_versions_are_not_mixed_up(tmp_path):
    def run(name: str, raw: Path, split: str = "train") -> str:
        command = ["prepare", name, "--raw", str(raw), "--split", split, "--out", str(tmp_path)]
        result = CliRunner().invoke(group, command)
        assert isinstance(result.exception, HandbenchError)
        return str(result.exception)

    v2, v3 = tree("v2"), tree("v3")
    told = run("ho3d_v2", v3)
    assert told == f"{v3} holds HO-3D v3, not ho3d_v2: handbench prepare ho3d_v3 --raw {v3}"
    assert f"{v2} holds HO-3D v2, not ho3d_v3" in run("ho3d_v3", v2)
    assert f"{v3} holds HO-3D v3, not h2o3d" in run("h2o3d", v3)
    assert "known: evaluation, train" in run("ho3d_v3", v3, "test")
    assert "docs/datasets/ho3d.md" in str(pytest.raises(DataError, READERS["v3"], "train").value)
    assert "is not a folder" in run("ho3d_v3", tmp_path / "nowhere")


def test_reader_survives_pickling():
    reader = READERS["v3"]("evaluation", tree("v3"))
    plans = reader.plan()
    again, plan = pickle.loads(pickle.dumps((reader, plans[-1])))
    assert [f.id for f in again.frames(plan)] == [f.id for f in reader.frames(plans[-1])]
    assert again.hands()[0].sha256 == reader.hands()[0].sha256


def test_a_png_is_checked_to_its_end():
    data = cv2.imencode(".png", np.zeros((3, 5), np.uint8))[1].tobytes()
    assert png_size(data) == (5, 3)
    for broken, message in ((b"", "empty"), (b"GIF", "no PNG"), (data[:-1], "cut short")):
        with pytest.raises(DataError, match=message):
            png_size(broken)
