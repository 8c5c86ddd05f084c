"""How pictures are stored: as margin crops, encoded anew, or kept under new labels."""

import shutil
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest

from handbench.errors import DataError
from handbench.hand import Hand
from handbench.loading import crop
from handbench.loading.augment import Augmentation
from handbench.loading.batch import Samples
from handbench.preparing import turbo
from handbench.preparing.pictures import AS_SHIPPED, Pictures, margin
from handbench.preparing.prepare import estimate, prepare
from handbench.records import Mesh, Scene, SequencePlan
from handbench.showing import overlay
from handbench.store import open_split
from handbench.synthesis.takes import Take, cameras_around, film_takes

SIZE = (640, 480)
K = np.array([[613.0, 0, 313], [0, 612, 245], [0, 0, 1]])
needs_turbo = pytest.mark.skipif(not turbo.available(), reason="libturbojpeg is not installed")


@lru_cache(maxsize=1)
def film() -> tuple:
    """Two takes by two cameras, two moments each, of a right and of a left hand."""
    takes = [
        Take("a", 0, ("right",), ("025_mug",), 2),
        Take("b", 1, ("left",), ("003_cracker_box",), 2),
    ]
    hands = {side: Hand.open(side) for side in ("right", "left")}
    return tuple(film_takes(takes, cameras_around(("x", "y"), K, SIZE), hands, SIZE))


class Filmed:
    """Reader of the film. board: something flat hides the lower half; spoilt: other pictures."""

    name, splits, needs_raw = "filmed", ("train",), False

    def __init__(self, split, raw=None, board=False, spoilt=False, first=0):
        self.split, self.board, self.spoilt, self.first = split, board, spoilt, first

    def plan(self):
        return [SequencePlan(name, camera, name, 2) for name in "ab" for camera in "xy"]

    def frames(self, plan):
        for shot in film():
            if (shot.sequence, shot.camera) != (plan.name, plan.camera):
                continue
            if shot.frame_number < self.first:
                continue
            meshes = shot.scene.meshes
            if self.board:
                corners = np.array([[-1, 0, 0.2], [1, 0, 0.2], [0, 1.0, 0.2]])
                meshes = (*meshes, Mesh(corners, np.array([[0, 1, 2]]), "occluder"))
            yield replace(
                shot,
                image=b"\xff\xd8\xff" if self.spoilt else shot.image,
                scene=Scene(meshes, shot.K, SIZE),
            )

    def hands(self):
        return Hand.open("right"), Hand.open("left")

    def attributes(self):
        return {"board": int(self.board)}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    prepare(Filmed("train"), folder)
    return folder


@pytest.fixture(scope="module")
def cut(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cut")
    prepare(Filmed("train"), folder, pictures=Pictures.choose(True, None))
    return folder


def opened(folder):
    return open_split("filmed/train", folder)


def test_margins_hold_crops_of_boxes_that_are_shipped():
    """Those are widened after they were cut at the border, so they reach farther along it."""
    frame = replace(film()[0], left=None)
    box = np.array([560.0, 200, 79, 30])
    shipped = replace(frame.right, joints_px=np.full((21, 2), np.nan), box_px=box, box_source=3)
    x0, y0, x1, y1 = margin(replace(frame, right=shipped), {})
    middle, side, _ = crop.square(box[None], np.array([SIZE]), shipped=True)
    half = side[0] * 1.25 / np.sqrt(2)  # enlarged by a quarter, turned by 45 degrees
    assert half > 70
    assert (x0, y0) <= tuple(middle[0] - half) and y1 >= middle[0, 1] + half and x1 == SIZE[0]
    assert y0 <= middle[0, 1] - half


@needs_turbo
def test_margin_crops_are_lossless_and_say_where_they_lie(whole, cut):
    full, small = opened(whole), opened(cut)
    assert full.windows is None
    assert small.attributes["pictures"] == "margin crops"
    bytes_of = [sum(len(s.image_bytes(row)) for row in range(len(s))) for s in (full, small)]
    assert bytes_of[1] < 0.7 * bytes_of[0]  # these hands fill much of the picture
    frames = {frame.id: frame for frame in film()}
    for row, name in enumerate(full.columns["id"]):
        x0, y0, x1, y1 = small.windows[row]
        assert x0 % 16 == y0 % 16 == 0
        wanted = margin(frames[name], {})
        # 1.5 times the joints' box, turned and enlarged by a quarter, has room in it
        joints = next(h for h in (frames[name].right, frames[name].left) if h).joints_px
        middle, side, _ = crop.square(crop.extent(joints[None].astype(float)), np.array([SIZE]))
        half = side[0] * 1.25 / np.sqrt(2)
        assert (wanted[:2] <= np.maximum(middle[0] - half, 0)).all()
        assert (wanted[2:] >= np.minimum(middle[0] + half + 1, SIZE)).all()
        assert (np.array([x0, y0]) <= wanted[:2]).all()
        assert (np.array([x1, y1]) >= wanted[2:]).all()
        a, b = full.image(row), small.image(row)
        assert a.shape == b.shape
        inner = np.zeros(a.shape[:2], bool)
        inner[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = True
        assert (a[inner] == b[inner]).all()
        outside = np.ones(a.shape[:2], bool)
        outside[y0:y1, x0:x1] = False
        assert not b[outside].any()
        # all that is drawn over the picture lies where it lay
        shown = [overlay.picture(split, row) for split in (full, small)]
        assert shown[0].shape == shown[1].shape
    for name in ("K", "right/joints_px", "left/box_px", "right/visibility/scene/vertex"):
        np.testing.assert_array_equal(full.columns[name], small.columns[name])


@needs_turbo
@pytest.mark.parametrize("way", ["exact", "fast"])
@pytest.mark.parametrize("source", ["gt_joints", "visible_mask", "official"])
def test_training_sees_the_same_from_crops_as_from_whole_pictures(whole, cut, way, source):
    augment = Augmentation(rotation_share=1.0, occluders=0.5)
    samples = [
        Samples(opened(folder), 64, Hand.open(), augment=augment, box_source=source, pictures=way)
        for folder in (whole, cut)
    ]
    for epoch in range(4):
        a, b = (each.batch(np.arange(len(each)), epoch) for each in samples)
        key, unit = ("image", 1 / 255) if way == "exact" else ("image_bytes", 1)
        apart = np.abs(a[key].astype(float) - b[key]) / unit
        # the new border's two pixels may differ a little in colour
        assert np.quantile(apart, 0.995) < 0.01
        assert apart.max() < 40
        for name in ("K_crop", "joints_crop", "crop_matrix"):
            np.testing.assert_array_equal(a[name], b[name])


def test_without_the_library_pictures_stay_whole_and_it_says_so(
    whole, tmp_path, monkeypatch, capsys
):
    monkeypatch.setattr(turbo, "_library", lambda: None)
    pictures = Pictures.choose(True, None)
    assert "libturbojpeg is not installed" in capsys.readouterr().err
    prepare(Filmed("train"), tmp_path, pictures=pictures)
    split = opened(tmp_path)
    assert split.attributes["pictures"] == "whole: no libturbojpeg to cut them"
    assert split.windows is None
    assert split.image_bytes(3) == opened(whole).image_bytes(3)


def test_encoding_anew_shrinks_and_crops_too(whole, tmp_path, monkeypatch):
    monkeypatch.setattr(turbo, "_library", lambda: None)
    full = opened(whole)
    for cropped in (False, True):
        folder = tmp_path / str(cropped)
        prepare(Filmed("train"), folder, pictures=Pictures.choose(cropped, 60))
        split = opened(folder)
        assert (split.windows is not None) == cropped
        row = 2
        assert len(split.image_bytes(row)) < len(full.image_bytes(row))
        a, b = full.image(row).astype(int), split.image(row).astype(int)
        x0, y0, x1, y1 = split.windows[row] if cropped else (0, 0, *SIZE)
        assert np.abs(a - b)[y0:y1, x0:x1].mean() < 4
    size = estimate(Filmed("train"), tmp_path / "none", pictures=Pictures(True, 60)).bytes
    assert size < estimate(Filmed("train"), tmp_path / "none").bytes


def test_new_labels_for_old_pictures(cut, tmp_path):
    folder = tmp_path / "data"
    shutil.copytree(cut, folder)
    before = opened(cut)
    pictures = Pictures.choose(True, None)
    # neither the pictures of the raw folder nor the old labels matter
    prepare(Filmed("train", board=True, spoilt=True), folder, force="labels", pictures=pictures)
    after = opened(folder)
    for row in range(len(before)):
        assert after.image_bytes(row) == before.image_bytes(row)
    if before.windows is not None:
        assert (after.windows == before.windows).all()
    old, new = (s.hand_column("visibility/scene/hand") for s in (before, after))
    assert (new < old - 0.1).any()
    assert after.attributes["board"] == 1
    np.testing.assert_array_equal(before.columns["right/joints_m"], after.columns["right/joints_m"])
    with pytest.raises(DataError, match="give --crop and --reencode as they were"):
        prepare(Filmed("train"), folder, force="labels", pictures=AS_SHIPPED)
    with pytest.raises(DataError, match="the raw folder has no longer take/a/x/0"):
        prepare(Filmed("train", first=1), folder, force="labels", pictures=pictures)
    with pytest.raises(DataError, match="has 0 parts, the raw folder gives 1"):
        prepare(Filmed("train"), tmp_path / "new", force="labels")


@needs_turbo
def test_what_is_no_jpeg_is_named():
    with pytest.raises(DataError, match="JPEG that cannot be cut"):
        turbo.cut(b"\xff\xd8 nothing", (0, 0, 8, 8))
