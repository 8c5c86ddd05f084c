"""Alignments against what they must leave unchanged, and against scipy's own Procrustes."""

import numpy as np
import pytest
from scipy.linalg import orthogonal_procrustes
from scipy.spatial.transform import Rotation

from handbench.errors import ShapeError
from handbench.scoring import align


def clouds(count=8, points=21, seed=0):
    return np.random.default_rng(seed).normal(size=(count, points, 3))


def moved(target, seed=1, mirrored=False):
    rng = np.random.default_rng(seed)
    R = Rotation.random(len(target), random_state=2).as_matrix()
    if mirrored:
        R = R * np.array([-1.0, 1.0, 1.0])
    scale = rng.uniform(0.2, 5.0, (len(target), 1, 1))
    return scale * np.einsum("nij,nkj->nki", R, target) + rng.normal(size=(len(target), 1, 3))


@pytest.mark.parametrize("reflection", [True, False])
def test_a_similarity_is_undone(reflection):
    target = clouds()
    back = align.procrustes(moved(target), target, reflection)
    assert np.abs(back - target).max() < 1e-6


def test_only_the_reflecting_rule_undoes_a_mirror():
    target = clouds()
    points = moved(target, mirrored=True)
    assert np.abs(align.procrustes(points, target, True) - target).max() < 1e-6
    assert np.abs(align.procrustes(points, target, False) - target).mean() > 0.1


def test_reflecting_rule_agrees_with_scipy_sample_by_sample():
    points, target = clouds(seed=3), clouds(seed=4)
    ours = align.procrustes(points, target)
    for p, t, o in zip(points, target, ours):
        a, b = t - t.mean(0), p - p.mean(0)
        na, nb = np.linalg.norm(a) + 1e-8, np.linalg.norm(b) + 1e-8
        R, s = orthogonal_procrustes(a / na, b / nb)
        expected = (b / nb) @ R.T * s * na + t.mean(0)
        assert np.abs(o - expected).max() < 1e-12


def test_rotation_only_rule_is_the_least_squares_one():
    """No small change of rotation or scale may bring the points closer (Umeyama's optimum)."""
    points, target = clouds(3, seed=5), clouds(3, seed=6)
    best = align.procrustes(points, target, reflection=False)
    error = ((best - target) ** 2).sum((1, 2))
    centre = target.mean(1, keepdims=True)
    for axis in np.eye(3):
        for angle in (-1e-3, 1e-3):
            turned = (best - centre) @ Rotation.from_rotvec(axis * angle).as_matrix().T + centre
            assert (((turned - target) ** 2).sum((1, 2)) >= error).all()
    for factor in (0.999, 1.001):
        scaled = (best - centre) * factor + centre
        assert (((scaled - target) ** 2).sum((1, 2)) >= error).all()


def test_points_that_coincide_are_shifted_onto_the_centre():
    target = clouds(2)
    back = align.procrustes(np.zeros_like(target), target, reflection=False)
    assert np.allclose(back, target.mean(1, keepdims=True))


def test_valid_points_alone_determine_the_transform():
    target = clouds()
    points = moved(target)
    valid = np.ones(points.shape[:2], bool)
    valid[:, 5] = False
    points[:, 5] += 100.0
    back = align.procrustes(points, target, False, valid)
    assert np.abs(back - target)[valid].max() < 1e-6


def test_scale_translation_keeps_direction_and_matches_the_bone():
    points, target = clouds(seed=7), clouds(seed=8)
    out = align.scale_translation(points, target)
    assert np.allclose(out[:, 0], target[:, 0])
    bone = np.linalg.norm(out[:, 9] - out[:, 0], axis=1)
    assert np.allclose(bone, np.linalg.norm(target[:, 9] - target[:, 0], axis=1))
    points[:, 9] = points[:, 0]
    assert np.isfinite(align.scale_translation(points, target)).all()


@pytest.mark.parametrize(
    ("a", "b"), [((2, 21, 3), (2, 20, 3)), ((2, 2, 3), (2, 2, 3)), ((21, 3), (21, 3))]
)
def test_wrong_shapes_are_named(a, b):
    with pytest.raises(ShapeError):
        align.procrustes(np.zeros(a), np.zeros(b))
