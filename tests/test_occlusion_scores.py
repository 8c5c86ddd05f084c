"""Hidden against visible parts and predicted visibility, against hand-worked numbers."""

import numpy as np
import pytest

from handbench.scoring.aggregate import occlusion
from handbench.scoring.hidden import given_seen_mm, joints_mm, verts_mm
from handbench.scoring.metrics import measure
from handbench.scoring.occlusion import average_precision, calibration_error
from handbench.scoring.pairs import Pairs


def cloud(count=3, points=21, seed=0):
    found = np.random.default_rng(seed).normal(scale=0.05, size=(count, points, 3))
    return found - found[:, :1]


def pairs(pred, true, **more):
    valid = more.pop("joints_valid", np.ones(true.shape[:2], bool))
    return Pairs(joints_pred_m=pred, joints_true_m=true, joints_valid=valid, **more)


def test_unlabelled_joints_are_neither_hidden_nor_visible():
    true = cloud(1)
    pred = true.copy()
    pred[0, 1:11] += [0.01, 0, 0]
    pred[0, 11:] += [0.02, 0, 0]
    visible = np.full((1, 21), 255, np.uint8)
    visible[0, 1:5], visible[0, 11:13] = 1, 0
    both = pairs(pred, true, joint_visible=visible)
    assert joints_mm(both, 1) == pytest.approx([10.0])
    assert joints_mm(both, 0) == pytest.approx([20.0])
    unknown = pairs(pred, true, joint_visible=np.full((1, 21), 255, np.uint8))
    assert np.isnan(joints_mm(unknown, 0)).all()


def test_vertices_part_as_joints_do():
    true, verts = cloud(1), cloud(1, 778, seed=1)
    moved = verts.copy()
    moved[0, :100] += [0, 0.003, 0.004]
    visible = np.zeros((1, 778), np.uint8)
    visible[0, 50:] = 1
    both = pairs(true, true, verts_pred_m=moved, verts_true_m=verts, vert_visible=visible)
    assert verts_mm(both, 0) == pytest.approx([5.0])
    assert verts_mm(both, 1) == pytest.approx([50 * 5.0 / 728])


def test_hidden_given_seen_is_free_of_what_the_seen_joints_fix():
    """A prediction turned, scaled and shifted as a whole, with one hidden finger bent away."""
    true = cloud(2)
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    bent = true.copy()
    bent[:, 17:] += [0.0, 0.03, 0.04]
    pred = 0.5 * bent @ turn.T + 0.1
    visible = np.ones((2, 21), np.uint8)
    visible[0, 17:] = 0
    visible[1, 3:] = 0  # three visible joints: too few
    found = given_seen_mm(pairs(pred, true, joint_visible=visible))
    assert found[0] == pytest.approx(50.0)
    assert np.isnan(found[1])
    everything = measure(pairs(pred, true, joint_visible=visible), ("pa_mpjpe_mm",))
    assert everything["pa_mpjpe_mm"][0] < 50 * 4 / 21 * 2  # Procrustes over all spreads it


def test_average_precision_of_a_worked_ranking():
    hidden = np.array([True, False, True, False, True])
    score = np.array([0.9, 0.8, 0.7, 0.2, 0.1])
    ones = np.ones(5)
    worked = (1 / 1 + 2 / 3 + 3 / 5) / 3
    assert average_precision(hidden, score, ones) == pytest.approx(worked)
    assert average_precision(~hidden, -score, ones) == pytest.approx((1 / 2 + 2 / 4) / 2)
    assert np.isnan(average_precision(np.zeros(5, bool), score, ones))
    # equal scores are one step: precision is the share of hidden ones
    assert average_precision(hidden, np.zeros(5), ones) == pytest.approx(3 / 5)
    # a weight of two is a finger given twice
    twice = np.r_[0, 0, 1, 2, 3, 4]
    weights = np.array([2.0, 1, 1, 1, 1])
    assert average_precision(hidden, score, weights) == pytest.approx(
        average_precision(hidden[twice], score[twice], np.ones(6))
    )


def test_calibration_error_of_two_bins():
    visible = np.array([True, True, False, False])
    told = np.array([0.95, 0.95, 0.95, 0.05])
    # bin 0.9-1: 3 of 4, told 0.95, seen 2/3; bin 0-0.1: 1 of 4, told 0.05, seen 0
    worked = 0.75 * abs(0.95 - 2 / 3) + 0.25 * 0.05
    assert calibration_error(visible, told, np.ones(4)) == pytest.approx(worked)
    assert calibration_error(np.array([True]), np.array([1.0]), np.ones(1)) == 0.0


def test_unlabelled_fingers_do_not_count():
    labels = np.array([[1, 0, 255, 1, 1], [0, 0, 1, 1, 255]], np.uint8)
    told = np.where(labels == 0, 0.2, 0.8)
    kept = {
        "finger_visible": labels,
        "visibility_pred": told,
        "recording": np.arange(2),
    }
    found = occlusion(kept)
    assert found["occlusion_ap"].value == 1.0
    assert found["occlusion_ap"].n == 8
    assert found["occlusion_ece"].value == pytest.approx(0.2)
    accuracy = measure(
        pairs(cloud(2), cloud(2), finger_visible=labels, visibility_pred=1 - told),
        ("occlusion_acc",),
    )
    assert accuracy["occlusion_acc"] == pytest.approx([0, 0])
    assert occlusion({"finger_visible": labels, "recording": np.arange(2)}) == {}
