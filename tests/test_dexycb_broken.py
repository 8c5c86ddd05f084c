"""DexYCB: bad input is one line, or a skipped frame that is counted; nothing in a file is run."""

import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
from dexycb_scene import SPLIT, edit_labels, read, write

from handbench.datasets.dexycb import DexYCB
from handbench.datasets.dexycb_files import read_labels, read_meta
from handbench.datasets.jpeg import Skip
from handbench.errors import DataError, HandbenchError, UnknownName
from handbench.store import decode

pytestmark = pytest.mark.usefixtures("no_mano")

SUBJECT = "20200928-subject-07"
FIRST, MASTER = "836212060125", "840412060917"  # the cameras that are there
WHOLE = 10  # labelled pictures of the tree


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("dexycb"), (FIRST, MASTER))


@pytest.fixture
def tree(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "raw"))


def first_labels(tree: Path) -> Path:
    return sorted(tree.glob(f"{SUBJECT}/*/*/labels_000001.npz"))[0]


def change(**arrays):
    return lambda path: edit_labels(path, **arrays)


def pickled(path: Path) -> None:
    np.savez(path, seg=np.array([print], object), pose_m=np.zeros((1, 51)))


def picture(content: bytes | int):
    def spoil(path: Path) -> None:
        image = path.with_name("color_000001.jpg")
        cut = content if isinstance(content, bytes) else image.read_bytes()[:content]
        image.write_bytes(cut)

    return spoil


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: p.write_bytes(b"no archive"), "labels cannot be read"),
        (lambda p: p.write_bytes(b""), "labels cannot be read"),
        (lambda p: p.write_bytes(p.read_bytes()[:2000]), "labels cannot be read"),
        (lambda p: p.write_bytes(pickle.dumps(print)), "labels cannot be read"),
        (pickled, "labels cannot be read"),
        (change(pose_m=None), "labels lack an array"),
        (change(pose_m=np.full((1, 51), np.nan, np.float32)), "pose_m not finite"),
        (change(joint_3d=np.zeros((21, 3), np.float32)), "joint_3d is not of shape"),
        (change(joint_3d=np.full((1, 21, 3), -1, np.float32)), "joints behind the camera"),
        (change(joint_2d=np.full((1, 21, 2), 9, np.float32)), "not joint_3d's projection"),
        (change(pose_y=np.ones((3, 3, 4), np.float32)), "pose_y is no rotation"),
        (change(pose_y=np.zeros((2, 3, 4), np.float32)), "pose_y is not of shape"),
        (change(seg=np.zeros((120, 160), np.uint8)), "seg is not of shape"),
        (picture(2000), "JPEG cut short"),
        (picture(b"GIF89a"), "no JPEG"),
        (picture(b""), "empty file"),
    ],
)
def test_unusable_frames_are_skipped_with_the_reason(tree, spoil, reason):
    spoil(first_labels(tree))
    reader = DexYCB(SPLIT, raw=tree)
    found = [frame for plan in reader.plan() for frame in reader.frames(plan)]
    assert len(found) == WHOLE - 1
    assert [reason in key for key in reader.skipped].count(True) == 1
    assert {f.clip for f in found if f.camera == found[0].camera} == {0, 1}
    with pytest.raises(DataError, match=f"frame 1: .*{reason}"):
        read(tree, strict=True)


def test_damaged_labels_and_settings_never_surprise(tree):
    rng = np.random.default_rng(0)
    labels, meta = first_labels(tree), sorted(tree.glob(f"{SUBJECT}/*/meta.yml"))[0]
    for path, read_file, refusal in (
        (labels, lambda: read_labels(labels, 3), Skip),
        (meta, lambda: read_meta(meta), DataError),
    ):
        content = path.read_bytes()
        refused = []
        for case in range(120):
            # in an archive most of what is not pixels lies at its end
            place = -rng.integers(1, 700, 2) if path == labels else rng.integers(0, len(content), 2)
            damaged = bytearray(content)
            damaged[place[0] % len(content)] = rng.integers(1, 256)
            damaged[place[1] % len(content)] = rng.integers(1, 256)
            path.write_bytes(damaged if case % 3 else damaged[: rng.integers(len(damaged))])
            try:
                read_file()
            except refusal as error:
                refused.append(str(error))
        assert len(refused) > 60 and "\n" not in "".join(refused)


def test_frames_without_a_hand_are_no_fault(tree):
    edit_labels(
        first_labels(tree),
        pose_m=np.zeros((1, 51), np.float32),
        joint_3d=np.full((1, 21, 3), -1, np.float32),
        joint_2d=np.full((1, 21, 2), -1, np.float32),
    )
    reader = DexYCB(SPLIT, raw=tree, strict=True)
    assert len([f for plan in reader.plan() for f in reader.frames(plan)]) == WHOLE - 1
    # the segmentation of this one still shows the hand that the annotation denies
    assert reader.skipped["no hand annotated, but the segmentation shows one"] == 1


def test_an_object_that_was_not_seen_is_none(tree):
    path = first_labels(tree)
    with np.load(path) as archive:
        pose_y = archive["pose_y"] * 0
    edit_labels(path, pose_y=pose_y)
    frame = read(tree)[1]
    assert frame.object is None
    assert [mesh.kind for mesh in frame.scene.meshes] == ["right"]


def test_a_pose_of_zeros_is_none_and_values_of_no_object_are_void(tree):
    """Fields of a missing hand should be missing together; seg knows 0, 1 to 21 and 255."""
    path = first_labels(tree)
    with np.load(path) as archive:
        seg = archive["seg"].copy()
    seg[:7] = 99
    edit_labels(path, pose_m=np.zeros((1, 51), np.float32), seg=seg)
    frame = read(tree)[1]
    assert frame.right.present == 1 and np.isfinite(frame.right.joints_m).all()
    assert frame.right.mano_valid == 0 and frame.right.mano_pose is None and frame.scene is None
    codes = decode(frame.segmentation, -1)
    assert (codes[:7] == 255).all() and not (codes[7:] == 255).any()


def remove(name: str):
    def spoil(tree: Path) -> None:
        for path in tree.glob(name):
            path.unlink() if path.is_file() else shutil.rmtree(path)

    return spoil


def test_what_is_not_there_is_counted(tree, capsys):
    remove(f"{SUBJECT}/*/{MASTER}/color_000000.jpg")(tree)
    remove(f"{SUBJECT}/*/{FIRST}")(tree)
    remove("calibration/extrinsics_*")(tree)
    (tree / SUBJECT / ".DS_Store").touch()
    (first_labels(tree).parent / "notes.txt").write_text("an extra file")
    reader = DexYCB(SPLIT, raw=tree)
    rows = sum(plan.rows for plan in reader.plan())
    assert rows == 2 * 3 - 2
    # eight cameras, three frames, two sequences
    assert reader.attributes()["missing"] == 44 and reader.attributes()["expected"] == 48
    found = [f for plan in reader.plan() for f in reader.frames(plan)]
    assert found[0].T_world_camera is None
    assert "no T_world_camera" in capsys.readouterr().err
    assert DexYCB(SPLIT, raw=tree, side="left").plan()[0].rows == 2
    numbers = [f.official_index for f in found]
    assert (
        numbers == sorted(set(numbers)) and numbers[0] == 2 * 3 + 1
    )  # counted with what is missing


def test_a_missing_sequence_ends_the_numbers(tree):
    listed = tree / "list.txt"
    whole = sorted(path.name for path in (tree / SUBJECT).iterdir() if path.is_dir())
    listed.write_text("".join(f"{SUBJECT}/{name} 3\n" for name in whole))
    shutil.rmtree(tree / SUBJECT / whole[0])
    found = read(tree)
    assert {f.official_index for f in found} == {-1}
    assert DexYCB(SPLIT, raw=tree).found[0].there is False
    # the list's frames of what is missing are expected too, by eight cameras
    counts = [DexYCB(SPLIT, raw=tree, sequences=name) for name in (None, str(listed))]
    assert [reader.plan() and reader.counts["expected"] for reader in counts] == [24, 48]


def rewrite(name: str, old: str, new: str):
    def spoil(tree: Path) -> None:
        path = sorted(tree.glob(name))[0]
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))

    return spoil


META, LENS = f"{SUBJECT}/*/meta.yml", "calibration/intrinsics/*.yml"
BOMB = "!!python/object/apply:os.system ['touch /tmp/handbench_was_here']"


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (remove(META), r"meta\.yml is missing: unpack it there"),
        (remove(LENS), r"_640x480\.yml is missing"),
        (remove("calibration/mano_*"), r"mano\.yml is missing"),
        (remove(f"{SUBJECT}/*/*"), "holds no picture of s1_val"),
        (remove(f"{SUBJECT}/*/*/color_*.jpg"), "none of the 48 pictures"),
        (rewrite(META, "num_frames: 3", f"num_frames: {BOMB}"), "more than plain data.*refused"),
        (rewrite(META, "num_frames: 3", "num_frames: [3"), r"meta\.yml is not YAML"),
        (rewrite(META, "num_frames: 3", "num_frames: three"), "num_frames should be a number"),
        (rewrite(META, "num_frames: 3", ""), "num_frames should be a number of frames, found"),
        (rewrite(META, "- right", "- middle"), "mano_sides should be right or left"),
        (rewrite(META, "ycb_grasp_ind: 0", "ycb_grasp_ind: 7"), "ycb_grasp_ind is 7"),
        (rewrite(META, "mano_calib:\n- 2", "mano_calib:\n- ../2"), "mano_calib should be one"),
        (rewrite(LENS, "color", "colour"), "expected color with fx, fy, ppx, ppy"),
        (rewrite("calibration/mano_*_right/mano.yml", "betas", "beta"), "betas of 10 numbers"),
        (rewrite("calibration/extrinsics_*/*.yml", "- 1.0", "- 9.0"), "is no rotation"),
        (rewrite("models/*/*.obj", "v ", "v x"), "is not as in an OBJ file"),
    ],
)
def test_broken_trees_are_one_line(tree, spoil, message):
    spoil(tree)
    with pytest.raises(DataError, match=message) as caught:
        read(tree)
    assert "\n" not in str(caught.value)
    assert not Path("/tmp/handbench_was_here").exists()


def test_wrong_name_place_or_choice(tree, tmp_path):
    with pytest.raises(UnknownName, match="'s1_val'"):
        DexYCB("s1_vall", raw=tree)
    with pytest.raises(UnknownName, match="'handoccnet'"):
        DexYCB(SPLIT, raw=tree, list="handocnet")
    with pytest.raises(DataError, match="needs --raw DIR"):
        DexYCB(SPLIT)
    with pytest.raises(DataError, match="holds no picture of s0_test"):
        DexYCB("s0_test", raw=tree)
    (tmp_path / "other" / "train" / "ABF10" / "rgb").mkdir(parents=True)
    (tmp_path / "other" / "train" / "ABF10" / "rgb" / "0000.jpg").touch()
    with pytest.raises(HandbenchError, match="holds HO-3D v3, not dexycb"):
        DexYCB(SPLIT, raw=tmp_path / "other")
    mark = tree / "handbench_synth.json"
    mark.write_text('{"hand_model": {"sha256": "of another version"}}')
    with pytest.raises(DataError, match="another version's open hand"):
        DexYCB(SPLIT, raw=tree)
