"""Crops: where points land, what turning and mirroring do, which box is taken."""

import numpy as np
import pytest

from handbench.errors import UnknownName
from handbench.frames import mirror_points, project
from handbench.loading import crop
from handbench.loading.augment import Augmentation, draw, normals, uniforms

K = np.array([[[300.0, 0, 100], [0, 300, 80], [0, 0, 1]]])


def test_square_goes_to_the_crop():
    matrix = crop.affine(np.array([[50.0, 40]]), np.array([20.0]), 64)
    corners = np.array([[[40.0, 30], [60, 30], [50, 40], [60, 50]]])
    expected = [[[0, 0], [64, 0], [32, 32], [64, 64]]]
    np.testing.assert_allclose(crop.transform(corners, matrix), expected, atol=1e-12)


def test_mirror_swaps_left_and_right_and_rotation_turns_x_to_y():
    centre, side = np.array([[50.0, 40]]), np.array([20.0])
    right_of_it = np.array([[[55.0, 40]]])
    mirrored = crop.affine(centre, side, 64, mirror=True)
    np.testing.assert_allclose(crop.transform(right_of_it, mirrored), [[[16, 32]]])
    turned = crop.affine(centre, side, 64, rotation=np.pi / 2)
    np.testing.assert_allclose(crop.transform(right_of_it, turned), [[[32, 48]]])


@pytest.mark.parametrize("mirror", [False, True])
@pytest.mark.parametrize("rotation", [0.0, 0.7])
def test_crop_intrinsics_project_the_points_the_method_sees(mirror, rotation):
    points = np.random.default_rng(0).normal([0, 0, 0.6], 0.1, (1, 21, 3))
    matrix = crop.affine(np.array([[90.0, 70]]), np.array([55.0]), 128, rotation, mirror)
    seen = (mirror_points(points) if mirror else points) @ crop.about_z(
        np.array([rotation])
    ).transpose(0, 2, 1)
    intrinsics = crop.intrinsics(K, matrix, rotation, mirror)
    in_crop = crop.transform(project(points, K), matrix)
    np.testing.assert_allclose(project(seen, intrinsics), in_crop, atol=1e-9)
    np.testing.assert_allclose(intrinsics[0, 0, 0], 300 * 128 / 55)  # still a positive focal length
    np.testing.assert_allclose(intrinsics[0, 1, 0], 0, atol=1e-9)


def test_square_widens_moves_into_the_image_and_falls_back():
    boxes = np.array([[10.0, 20, 20, 10], [-50, 0, 60, 60], [np.nan] * 4, [500, 500, 20, 20]])
    centre, side, usable = crop.square(boxes, np.array([[160, 120]] * 4), factor=1.5)
    assert usable.tolist() == [True, True, False, False]
    np.testing.assert_allclose(centre[0], [19.5, 24.5], atol=0.01)  # x 5..34, y 17.5..31.5
    np.testing.assert_allclose(side[:2], [29, 89], atol=0.01)
    np.testing.assert_allclose(centre[1], [44.5, 44.5])  # moved in: x 0..89, y 0..89
    np.testing.assert_allclose(centre[2:], [[79.5, 59.5]] * 2)  # the whole image
    np.testing.assert_allclose(side[2:], 159)


def test_shipped_boxes_are_widened_last():
    boxes = np.array([[10.0, 20, 20, 10], [-50, 0, 60, 60], [np.nan] * 4])
    centre, side, usable = crop.square(
        boxes, np.array([[160, 120]] * 3), 1.5, shipped=np.array([True, True, True])
    )
    np.testing.assert_allclose(centre[:2], [[19.5, 24.5], [29.5, 29.5]])
    np.testing.assert_allclose(side, [1.5 * 19, 1.5 * 59, 159])  # beyond the image at its corner
    assert usable.tolist() == [True, True, False]


def test_boxes_by_source():
    joints = np.full((2, 21, 2), np.nan)
    joints[0, :3] = [[10, 20], [40, 25], [30, 60]]
    boxes = crop.tight_boxes("gt_joints", joints)
    np.testing.assert_allclose(boxes[0], [10, 20, 30, 40])
    assert np.isnan(boxes[1]).all()
    empty = crop.tight_boxes("visible_mask", np.array([[5, 5, 0, 0], [1, 2, 3, 4]], np.float32))
    assert np.isnan(empty[0]).all()
    assert empty[1].tolist() == [1, 2, 3, 4]
    with pytest.raises(UnknownName, match="did you mean 'gt_joints'"):
        crop.tight_boxes("gt_joint", joints)


def test_jittered_boxes_are_fixed_by_their_ids_and_differ_from_the_true_ones():
    joints = np.random.default_rng(1).uniform(20, 80, (50, 21, 2))
    ids = np.arange(50)
    one, part = (
        crop.tight_boxes("jittered", joints, ids),
        crop.tight_boxes("jittered", joints[7:9], ids[7:9]),
    )
    np.testing.assert_array_equal(one[7:9], part)
    moved = one - crop.tight_boxes("gt_joints", joints)
    assert 2 < moved[:, :2].std() < 12


def test_draws_depend_on_seed_epoch_and_index_alone():
    all_of_them = uniforms(3, 5, np.arange(1000), 4)
    np.testing.assert_array_equal(all_of_them[[17, 4]], uniforms(3, 5, np.array([17, 4]), 4))
    for other in (uniforms(4, 5, np.arange(1000), 4), uniforms(3, 6, np.arange(1000), 4)):
        assert abs(np.corrcoef(all_of_them.ravel(), other.ravel())[0, 1]) < 0.05
    assert abs(np.corrcoef(all_of_them.T)[0, 1:]).max() < 0.1
    np.testing.assert_allclose(all_of_them.mean(0), 0.5, atol=0.03)
    z = normals(0, 0, np.arange(4000), 2)
    np.testing.assert_allclose((z.mean(), z.std()), (0, 1), atol=0.03)


def test_augmentation_keeps_to_its_limits():
    drawn = draw(Augmentation(occluders=0.3), 0, 1, np.arange(5000))
    assert 0.75 <= drawn.scale.min() < 0.76
    assert 1.24 < drawn.scale.max() <= 1.25
    assert 59 < np.rad2deg(np.abs(drawn.rotation)).max() <= 60.001
    np.testing.assert_allclose((drawn.rotation == 0).mean(), 0.4, atol=0.03)
    np.testing.assert_allclose((drawn.occluder[:, 0] >= 0).mean(), 0.3, atol=0.03)
    neutral = draw(None, 7, 3, np.arange(10))
    assert (neutral.scale == 1).all()
    assert not neutral.rotation.any()
    assert (neutral.gain == 1).all()
