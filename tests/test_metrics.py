"""Metrics against hand-worked numbers and brute force."""

import gzip
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from handbench.protocol import PROTOCOLS
from handbench.scoring.align import procrustes
from handbench.scoring.curves import auc, pck, row_mean
from handbench.scoring.fscore import fscores
from handbench.scoring.metrics import METRICS, measure
from handbench.scoring.pairs import Pairs


def pairs(pred, true, **more):
    valid = more.pop("joints_valid", np.ones(true.shape[:2], bool))
    return Pairs(joints_pred_m=pred, joints_true_m=true, joints_valid=valid, **more)


def hands(count=5, points=21, seed=0):
    return np.random.default_rng(seed).normal(scale=0.05, size=(count, points, 3))


def brute_fscore(pred, true, threshold):
    difference = pred[:, None] - true[None]
    squared = (difference[..., 0] ** 2 + difference[..., 1] ** 2) + difference[..., 2] ** 2
    distance = np.sqrt(squared)
    precision = (distance.min(1) < threshold).mean()
    recall = (distance.min(0) < threshold).mean()
    return 0.0 if precision + recall == 0 else 2 * precision * recall / (precision + recall)


def test_a_known_shift_is_measured():
    true = hands()
    pred = true + np.array([0.003, 0.0, 0.004])
    found = measure(pairs(pred, true), ("mpjpe_mm", "pa_mpjpe_mm", "auc50_joints"))
    assert np.allclose(found["mpjpe_mm"], 5.0)
    assert np.abs(found["pa_mpjpe_mm"]).max() < 1e-6
    # 5 mm passes the thresholds from number 10 (5.05 mm) on: (99.5 - 10) / 99
    assert np.allclose(found["auc50_joints"], 89.5 / 99)


def test_truth_as_prediction_is_perfect():
    true, verts = hands(), hands(points=778, seed=1)
    protocol = PROTOCOLS["handbench"]
    zero = np.zeros((len(true), 3))
    found = measure(
        pairs(
            true,
            true,
            verts_pred_m=verts,
            verts_true_m=verts,
            root_pred_m=zero,
            root_true_m=zero,
            joint_visible=np.arange(21)[None].repeat(5, 0) % 2 == 0,
            vert_visible=np.arange(778)[None].repeat(5, 0) % 2 == 0,
            finger_visible=np.ones((5, 5), np.uint8),
            visibility_pred=np.ones((5, 5)),
            star_pred_m=true,
            star_true_m=true,
            joints_px_pred=true[..., :2],
            joints_px_true=true[..., :2],
            box_px=np.ones(5),
            rotation_pred=np.eye(3)[None].repeat(5, 0),
            rotation_true=np.eye(3)[None].repeat(5, 0),
        ),
        protocol.metrics,
    )
    of_pairs = {name for name in protocol.metrics if METRICS[name].of is not None}
    assert set(found) == of_pairs
    for name, values in found.items():
        best = 0.0 if METRICS[name].better == "lower" else 1.0
        assert np.allclose(values, best, atol=1e-6), name


def test_the_mean_of_each_hands_auc_is_the_area_under_the_curve():
    errors = np.random.default_rng(0).uniform(0, 80, (40, 21))
    errors[3, 4] = 0.0
    errors[5, 6] = 50.0
    area = np.trapezoid(pck(errors), dx=1 / 99)
    assert auc(errors).mean() == pytest.approx(area, abs=1e-12)


@settings(max_examples=50, deadline=None)
@given(st.floats(0, 60, allow_nan=False))
def test_auc_of_one_error_is_the_area_of_its_step(error):
    curve = (error <= np.linspace(0, 50, 100)).astype(float)
    assert auc(np.array([[error]]))[0] == pytest.approx(np.trapezoid(curve, dx=1 / 99), abs=1e-12)


def test_missing_joints_do_not_count():
    true, pred = hands(), hands(seed=1)
    valid = np.ones((5, 21), bool)
    valid[:, 7] = False
    expected = measure(pairs(pred, true, joints_valid=valid), ("mpjpe_mm", "pa_mpjpe_mm"))
    true[:, 7] = np.nan
    pred[:, 7] += 9.0
    found = measure(pairs(pred, true, joints_valid=valid), ("mpjpe_mm", "pa_mpjpe_mm"))
    for name in expected:
        assert np.allclose(found[name], expected[name])
    keep = [k for k in range(21) if k != 7]
    by_hand = np.linalg.norm(pred - true, axis=-1)[:, keep].mean(1) * 1000
    assert np.allclose(found["mpjpe_mm"], by_hand)


def test_hidden_and_visible_joints_part_the_error():
    true, pred = hands(), hands(seed=1)
    visible = np.zeros((5, 21), bool)
    visible[:4, :6] = True
    names = ("mpjpe_mm", "hidden_mpjpe_mm", "visible_mpjpe_mm")
    found = measure(pairs(pred, true, joint_visible=visible), names)
    mixed = (6 * found["visible_mpjpe_mm"] + 15 * found["hidden_mpjpe_mm"]) / 21
    assert np.allclose(mixed[:4], found["mpjpe_mm"][:4])
    assert np.isnan(found["visible_mpjpe_mm"][4])
    assert found["hidden_mpjpe_mm"][4] == pytest.approx(found["mpjpe_mm"][4])


def test_metrics_without_their_inputs_are_absent():
    found = measure(pairs(hands(), hands(seed=1)), PROTOCOLS["handbench"].metrics)
    assert not {"mpvpe_mm", "f5", "raw_mpjpe_mm", "hidden_mpjpe_mm"} & set(found)
    assert {"mpjpe_mm", "pa_mpjpe_mm", "st_mpjpe_mm"} <= set(found)


@pytest.mark.parametrize("points", [(778, 778), (778, 50), (9, 3), (1, 1)])
def test_fscore_equals_brute_force_to_the_last_bit(points):
    rng = np.random.default_rng(0)
    true = rng.normal(scale=0.03, size=(6, points[1], 3))
    pred = rng.normal(scale=0.03, size=(6, points[0], 3))
    pred[0] = true[0, 0]
    common = min(points)
    pred[1, :common] = true[1, :common] + np.array([0.005, 0, 0])  # ties at the threshold
    pred[2] *= 1000.0
    found = fscores(pred, true)
    for n in range(6):
        assert found[n, 0] == brute_fscore(pred[n], true[n], 0.005)
        assert found[n, 1] == brute_fscore(pred[n], true[n], 0.015)


def test_fscore_of_a_broken_sample_is_nan_and_touches_no_other():
    true = hands(3, 778)
    pred = true.copy()
    pred[1, 5, 2] = np.nan
    found = fscores(pred, true)
    assert np.isnan(found[1]).all()
    assert (found[[0, 2]] == 1.0).all()


def test_row_mean_of_nothing_is_nan_without_a_warning():
    assert np.isnan(row_mean(np.full((2, 3), np.nan))).all()


@pytest.mark.parametrize("case", ["small200", "edge60"])
def test_official_numbers_of_the_fixtures(shared, case):
    """The evaluators' own outputs: per-hand F bit for bit, mean errors as printed."""
    folder = shared / "fixtures" / "eval" / case

    def load(name):
        with gzip.open(folder / name) as file:
            return json.load(file)

    joints, verts = (
        np.array(load("evaluation_xyz.json.gz")),
        np.array(load("evaluation_verts.json.gz")),
    )
    pred_joints, pred_verts = (np.array(part) for part in load("pred.json.gz"))
    official = np.load(folder / "official_per_sample.npz")["fscore"]  # (N, threshold, raw/aligned)
    aligned = procrustes(pred_verts, verts)
    assert np.array_equal(fscores(pred_verts, verts), official[:, :, 0])
    assert np.array_equal(fscores(aligned, verts), official[:, :, 1])
    lines = (folder / "scores.txt").read_text().split("\n")
    printed = dict(line.split(": ") for line in lines if line)
    raw = np.linalg.norm(pred_joints - joints, axis=-1).mean() * 100
    similar = np.linalg.norm(procrustes(pred_joints, joints) - joints, axis=-1).mean() * 100
    assert f"{raw:f}" == printed["xyz_mean3d"]
    assert f"{similar:f}" == printed["xyz_procrustes_al_mean3d"]
