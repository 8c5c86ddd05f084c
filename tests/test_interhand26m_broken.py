"""InterHand2.6M: broken downloads give one clear line, or skipped frames with the reason."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from interhand_scene import GOLDEN, TEST, edit, read

from handbench.datasets.interhand26m import InterHand26M
from handbench.datasets.jpeg import jpeg_size
from handbench.errors import DataError, HandbenchError, UnknownName

pytestmark = pytest.mark.usefixtures("no_mano")


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    return Path(shutil.copytree(GOLDEN, tmp_path / "raw"))


def first_image(tree: Path) -> Path:
    return sorted(tree.rglob("*.jpg"))[0]


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        (lambda p: p.write_bytes(p.read_bytes()[:3000]), "JPEG cut short"),
        (lambda p: p.write_bytes(b"no picture"), "no JPEG"),
        (lambda p: p.write_bytes(b""), "empty file"),
        (
            lambda p: shutil.copy(sorted(p.parents[1].rglob("cam41*/*.jpg"))[0], p),
            "picture is 512 x 334, expected",
        ),
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


def remove(kind):
    return lambda tree: (tree / TEST.format(kind)).unlink()


def cut(kind):
    return lambda tree: (tree / TEST.format(kind)).write_bytes(
        (tree / TEST.format(kind)).read_bytes()[:900]
    )


def change_data(change):
    return lambda tree: edit(tree, "data", change)


def camera(change):
    return lambda tree: edit(tree, "camera", change)


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
            change_data(lambda d: [d["images"][k].update(frame_idx=2000) for k in (0, 1)]),
            r"data\.json lists Capture0/\S+/image2000\.jpg twice, as images \d+ and \d+",
        ),
        (
            change_data(lambda d: d["images"].pop()),
            r"an annotation names an image that the file does not list",
        ),
        (
            change_data(lambda d: d["annotations"][4].update(hand_type="both")),
            r"entry annotations/4: .*expected one of right, left, interacting, found 'both'",
        ),
        (change_data(lambda d: d["annotations"].clear()), r"lists no image of annotation all"),
        (
            camera(lambda c: c["0"].update(focal={"400026": [1200]})),
            r"focal of 0/400026 is not \(2",
        ),
        (
            camera(lambda c: c["0"]["campos"].update({"400026": [0, None, 0]})),
            r"campos of .* finite",
        ),
        (camera(lambda c: c.update({"0": 3})), r"test_camera\.json, entry 0: not as expected"),
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
    for near in (tree / "images", tree / "images/test/Capture0", tree.parent):
        with pytest.raises(DataError, match=rf"is not the folder with .* give --raw {tree}$"):
            InterHand26M("test", raw=near)
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


def test_every_cut_of_a_jpeg_is_noticed():
    data = sorted(GOLDEN.rglob("*.jpg"))[0].read_bytes()
    assert jpeg_size(data) == (334, 512)
    for length in (0, 1, 2, 3, 20, 160, 300, 1000, len(data) - 100, len(data) - 1):
        with pytest.raises(DataError):
            jpeg_size(data[:length])


def test_garbage_in_a_jpeg_is_a_size_or_an_error(tree):
    rng = np.random.default_rng(0)
    data = bytearray(sorted(GOLDEN.rglob("*.jpg"))[0].read_bytes())
    for _ in range(300):
        spoiled = bytearray(data)
        spoiled[rng.integers(2, 700)] = rng.integers(256)
        try:
            width, height = jpeg_size(bytes(spoiled))
        except DataError:
            continue
        assert width >= 0 and height >= 0
