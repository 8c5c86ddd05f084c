"""Batches: keys, labels that fit the picture, left hands mirrored there and back, frames."""

import numpy as np
import pytest
import torch
from small_split import joint_colours

from handbench.errors import DataError, UnknownName
from handbench.frames import project
from handbench.hand import default_hand
from handbench.loading.augment import Augmentation
from handbench.loading.batch import Samples, to_torch, unmirror
from handbench.loading.loader import Order, batches, once
from handbench.loading.neighbours import Neighbours
from handbench.store import open_split

SIZE = 64


@pytest.fixture(scope="module")
def split(small_data):
    return open_split("small/train", small_data)


def samples(split, **options) -> Samples:
    options = {"box_source": "gt_joints", **options}
    return Samples(split, SIZE, default_hand("right"), **options)


AUGMENTATIONS = {
    "none": None,
    "geometry": Augmentation(colour=0, shift=0.1, box_scale=0.1),
}


@pytest.mark.parametrize("augment", AUGMENTATIONS.values(), ids=AUGMENTATIONS)
def test_labels_fit_the_picture_and_each_other(split, augment):
    whole = samples(split, augment=augment)
    batch = whole[np.arange(len(whole))]
    assert batch["image"].shape == (len(whole), 3, SIZE, SIZE)
    assert batch["image"].dtype == np.float32
    assert batch["is_left"].any()
    assert not batch["is_left"].all()
    # the dot of each joint stands where joints_crop says, for left hands in the mirrored picture
    x, y = np.rint(SIZE * batch["joints_crop"]).astype(int).clip(0, SIZE - 1).transpose(2, 0, 1)
    dots = batch["image"][np.arange(len(whole))[:, None], :, y, x]
    shown = (np.abs(255 * dots - joint_colours()).max(-1) < 60).mean()
    assert shown > 0.6  # dots may cover each other; at wrong places fewer than 0.1 agree
    wrong = (np.abs(255 * dots[:, ::-1] - joint_colours()).max(-1) < 60).mean()
    assert wrong < 0.2
    # camera points of the right hand that the method sees project there too
    camera = batch["joints_m"] + batch["root_m"][:, None]
    pixels = project(camera.astype(float), batch["K_crop"].astype(float))
    np.testing.assert_allclose(pixels / SIZE, batch["joints_crop"], atol=1e-4)
    # the right hand model posed by the labels is that hand
    verts, joints = default_hand("right").pose(batch["pose"], batch["shape"])
    np.testing.assert_allclose(joints - joints[:, :1], batch["joints_m"], atol=1e-5)
    np.testing.assert_allclose(verts - joints[:, :1], batch["verts_m"], atol=1e-5)
    assert (batch["valid_joints"] == 1).all()
    assert (batch["valid_verts"] == 1).all()


def test_posing_per_batch_gives_the_kept_vertices(split, monkeypatch):
    kept = samples(split)[[3, 9, 20]]["verts_m"]
    monkeypatch.setattr("handbench.loading.batch.KEPT_VERTS", 0)
    np.testing.assert_allclose(samples(split)[[3, 9, 20]]["verts_m"], kept, atol=1e-7)


def test_unmirrored_truth_is_the_native_hand(split):
    whole = samples(split)
    batch = whole[np.arange(len(whole))]
    native = split.hand_column("joints_m")
    native = native - native[:, :1]
    np.testing.assert_allclose(unmirror(batch["joints_m"], batch["is_left"]), native, atol=1e-6)
    left = batch["is_left"]
    assert np.abs(batch["joints_m"][left] - native[left]).max() > 0.02


def test_unknown_labels_are_zero_and_masked(split):
    whole = samples(split)
    broken = {**dict(whole.labels), "joints_m": whole.labels["joints_m"]}
    assert all(np.isfinite(column).all() for column in broken.values())
    # the small split has no rendered labels, so nothing is claimed about visibility
    batch = whole[[0, 1]]
    assert not batch["valid_visibility"].any()
    assert not batch["visibility"].any()


def test_frames_go_back_in_time_and_stay_in_their_sequence(split):
    three = samples(split, frames=3)
    columns = split.columns
    every = np.arange(len(three))
    frame_rows, _, hands = three.neighbours.of(every)
    current = frame_rows[:, 0]
    np.testing.assert_array_equal(current, three.rows)
    np.testing.assert_array_equal(hands[:, 0], every)
    for name in ("sequence", "camera"):
        column = np.asarray(columns[name])
        assert (column[frame_rows] == column[current][:, None]).all()
    order = np.asarray(columns["order"])[frame_rows]
    np.testing.assert_array_equal(order, np.maximum(order[:, :1] - [[0, 1, 2]], 0))
    image = three[[5, 6]]["image"]
    assert image.shape == (2, 3, 3, SIZE, SIZE)
    np.testing.assert_array_equal(image[1, 1], samples(split)[[5]]["image"][0])


def test_earlier_rows_do_not_trust_the_row_order_or_cross_a_gap():
    columns = {
        "sequence": np.zeros(6, int),
        "camera": np.zeros(6, int),
        "clip": np.array([0, 1, 0, 0, 1, 0]),
        "order": np.array([2, 9, 0, 1, 8, 3]),
    }
    columns["id"] = np.zeros(6)
    right = np.zeros(3, bool)
    rows, sides, hands = Neighbours(columns, np.array([5, 1, 4]), right, 3, 2).of(np.arange(3))
    assert rows.tolist() == [[5, 3, 2], [1, 4, 4], [4, 4, 4]]
    assert hands.tolist() == [[0, -1, -1], [1, 2, 2], [2, 2, 2]]  # rows without a hand
    assert not sides.any()


def test_batches_do_not_depend_on_threads_or_grouping(split):
    whole = samples(split, augment=Augmentation(occluders=0.5), seed=3)
    order = list(Order(len(whole), 5, 1).steps(0, 9))
    plain = list(batches(whole, order, threads=0))
    threaded = list(batches(whole, order, threads=3))
    for one, other in zip(plain, threaded, strict=True):
        for name in one:
            np.testing.assert_array_equal(one[name], other[name])
    epoch, indices = order[7]
    alone = whole.batch(indices[2:3], epoch)
    np.testing.assert_array_equal(alone["image"][0], plain[7]["image"][2])
    assert np.abs(whole.batch(indices, epoch + 1)["image"] - plain[7]["image"]).max() > 0.1


def test_order_covers_an_epoch_and_resumes_anywhere():
    order = Order(23, 5, seed=4)
    steps = list(order.steps(0, 12))
    first = np.concatenate([indices for epoch, indices in steps if epoch == 0])
    assert len(first) == 20
    assert len(set(first.tolist())) == 20
    for (epoch, indices), (again, same) in zip(steps[6:], order.steps(6, 12), strict=True):
        assert epoch == again
        np.testing.assert_array_equal(indices, same)
    assert np.concatenate([i for _, i in once(23, 5)]).tolist() == list(range(23))
    assert Order(3, 8, 0).per_epoch == 1


def test_painted_occluders_make_visibility_unknown(split):
    whole = samples(split, augment=Augmentation(occluders=1.0))
    whole.labels["valid_visibility"] = np.ones(len(whole), np.float32)
    bare = samples(split, augment=Augmentation(occluders=0.0))
    assert not whole[[0, 1, 2]]["valid_visibility"].any()
    changed = np.abs(whole[[0, 1, 2]]["image"] - bare[[0, 1, 2]]["image"]).max((1, 2, 3))
    assert (changed > 0).all()


def test_to_torch(split):
    batch = to_torch(samples(split)[[0, 1]])
    assert batch["image"].dtype == torch.float32
    assert batch["is_left"].dtype == torch.bool


def test_bad_names_and_missing_columns(split):
    with pytest.raises(UnknownName, match="no box source 'gt_joint'"):
        samples(split, box_source="gt_joint")
    with pytest.raises(UnknownName, match="no visibility rule 'papr'; did you mean 'paper'"):
        samples(split, visibility_rule="papr")


def test_a_broken_image_is_named(split, monkeypatch):
    whole = samples(split)
    monkeypatch.setattr(type(split), "image_bytes", lambda self, row: b"\xff\xd8 cut")
    with pytest.raises(DataError, match="image of small/train/s000/cam/0 is not readable"):
        whole[[0]]
