"""Rotation, scale, the pose without them, errors in the picture and over time: worked numbers."""

import numpy as np
import pytest

from handbench.scoring.align import kabsch
from handbench.scoring.metrics import METRICS, measure
from handbench.scoring.mssd import about
from handbench.scoring.orientation import angle_deg
from handbench.scoring.pairs import Pairs
from handbench.scoring.planar import iou
from handbench.scoring.sequences import accel_mm, jitter_mm, neighbours

TURNS_DEG = (0.0, 1e-4, 30.0, 90.0, 170.0, 180.0)


def cloud(count, points=21, seed=0):
    found = np.random.default_rng(seed).normal(scale=0.05, size=(count, points, 3))
    return found - found[:, :1]


def rotations():
    axes = np.random.default_rng(3).normal(size=(len(TURNS_DEG), 3))
    turns = zip(axes, TURNS_DEG)
    return np.stack([about(axis, (0, 0, 0), angle)[:3, :3] for axis, angle in turns])


def test_angles_are_exact_from_none_to_half_a_turn():
    assert angle_deg(rotations()) == pytest.approx(TURNS_DEG, abs=1e-6)
    assert np.isnan(angle_deg(np.full((1, 3, 3), np.nan))).all()


def test_a_turned_and_scaled_hand():
    true, R = cloud(len(TURNS_DEG)), rotations()
    verts = cloud(len(TURNS_DEG), 778, seed=1)
    pred = 1.25 * true @ np.swapaxes(R, 1, 2)
    valid = np.ones(true.shape[:2], bool)
    names = ("rotation_deg", "scale_ratio", "canonical_mm", "pa_mpjpe_mm", "root_rotation_deg")
    joints = measure(Pairs(pred, true, valid), names)
    assert joints["rotation_deg"] == pytest.approx(TURNS_DEG, abs=1e-5)
    assert joints["scale_ratio"] == pytest.approx(1.25)
    centred = true - true.mean(1, keepdims=True)
    assert joints["canonical_mm"] == pytest.approx(250 * np.linalg.norm(centred, axis=-1).mean(1))
    assert joints["pa_mpjpe_mm"] == pytest.approx(0, abs=1e-6)
    assert "root_rotation_deg" not in joints
    # the mesh decides where there is one; a hand without a true mesh falls back to its joints
    turned = verts.copy()
    stands = np.roll(rotations(), 2, axis=0)
    verts[0] = np.nan
    both = Pairs(
        pred,
        true,
        valid,
        turned,
        verts,
        rotation_pred=R @ stands,
        rotation_true=stands,
    )
    found = measure(both, names)
    assert found["rotation_deg"] == pytest.approx([0.0] * 6, abs=1e-5)
    assert found["root_rotation_deg"] == pytest.approx(TURNS_DEG, abs=1e-5)


def test_what_is_not_known_gives_no_value():
    """Points that all coincide are not turned; without the bone to the middle there is no scale."""
    true, valid = cloud(2), np.ones((2, 21), bool)
    pred = true.copy()
    pred[0] = 0.1
    valid[1, 9] = False
    true[1, 9] = 5.0
    names = ("rotation_deg", "canonical_mm", "st_mpjpe_mm")
    found = measure(Pairs(pred, true, valid), names)
    assert np.isnan(found["rotation_deg"]).tolist() == [True, False]
    assert np.isfinite(found["canonical_mm"]).all()
    assert np.isnan(found["st_mpjpe_mm"]).tolist() == [False, True]


def test_kabsch_never_mirrors_and_skips_what_does_not_count():
    true = cloud(1)
    mirrored = kabsch(true * [-1, 1, 1], true)
    assert np.linalg.det(mirrored[0]) == pytest.approx(1.0)
    pred = true.copy()
    pred[0, 5] = 9.0
    valid = np.ones((1, 21), bool)
    valid[0, 5] = False
    assert kabsch(pred, true, valid)[0] == pytest.approx(np.eye(3), abs=1e-9)
    assert np.isnan(kabsch(pred, true, np.zeros((1, 21), bool))).all()
    pred[0, 5] = np.nan
    assert np.isnan(kabsch(pred, true)).all()


def test_picture_errors_by_visibility():
    flat = np.zeros((1, 21, 2))
    moved = flat.copy()
    moved[0, :10] += [3.0, 4.0]
    moved[0, 10:14] += [10.0, 0.0]
    moved[0, 20] = np.nan
    visible = np.zeros((1, 21), np.uint8)
    visible[0, :10] = 1
    both = Pairs(
        cloud(1), cloud(1), np.ones((1, 21), bool), joint_visible=visible,
        joints_px_pred=moved, joints_px_true=flat, box_px=np.array([100.0]),
    )  # fmt: skip
    names = tuple(name for name in METRICS if "2d" in name)
    found = {name: float(value[0]) for name, value in measure(both, names).items()}
    assert found["epe2d_px"] == pytest.approx((10 * 5 + 4 * 10) / 20)
    assert found["visible_epe2d_px"] == pytest.approx(5.0)
    assert found["hidden_epe2d_px"] == pytest.approx(40 / 10)
    assert found["pck2d_005"] == pytest.approx(16 / 20)  # 5 px of 100 still counts
    assert found["visible_pck2d_005"] == 1.0
    assert found["hidden_pck2d_005"] == pytest.approx(6 / 10)
    assert found["hidden_pck2d_010"] == found["pck2d_015"] == 1.0


def test_overlap_of_masks():
    true = np.array([[1, 1, 0, 255], [1, 1, 2, 255]])
    pred = np.array([[1, 0, 0, 1], [1, 1, 1, 3]])
    assert iou(pred, true, (1, 2, 3)) == pytest.approx([3 / 5, 0.0, np.nan], nan_ok=True)


def test_acceleration_error_of_one_jump():
    """Six frames in a shuffled list, two hands; one frame of the first hand jumps by 6 mm."""
    order = np.array([4, 0, 1, 2, 3, 5, 0, 1, 2, 7, 8, 9])
    groups = np.repeat([0, 1], 6)
    true = np.zeros((12, 21, 3))
    true[:, :, 0] = 0.001 * order[:, None] ** 2
    pred = true.copy()
    pred[order == 2] += [0, 0.006, 0]
    pred[6:] = true[6:]
    around = neighbours(groups, order, 2)
    assert around[0].tolist() == [3, 4, 0, 5, -1]
    found = accel_mm(pred, true, np.ones((12, 21), bool), around[:, 1:4])
    by_order = dict(zip(order[:6].tolist(), found[:6]))
    assert [by_order[k] for k in range(1, 5)] == pytest.approx([6, 12, 6, 0], abs=1e-9)
    assert np.isnan(by_order[0])
    assert np.isnan(by_order[5])
    # frames 2 and 7 of the second hand do not follow each other
    assert np.isfinite(found[6:]).tolist() == [False, True, False, False, True, False]
    # the third difference of a parabola is nothing; the jump's is 1, -3, 3, -1 times 6 mm
    shaking = dict(zip(order[:6].tolist(), jitter_mm(pred, around)[:6]))
    assert [shaking[k] for k in (1, 2, 3)] == pytest.approx([18, 18, 6], abs=1e-9)
    assert np.isnan([shaking[0], shaking[4], shaking[5]]).all()
