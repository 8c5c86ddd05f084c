"""Alignments applied before an error is measured: root, scale and translation, Procrustes.

All take points and target (N, K, 3) in one unit and return the moved points in float64.
"""

import numpy as np
from numpy.typing import NDArray

from handbench.errors import ShapeError


def root(points: NDArray, joint_from: NDArray, joint_to: NDArray) -> NDArray:
    """Points shifted so that joint_from (N, 3) lands on joint_to (N, 3)."""
    return points - joint_from[:, None] + joint_to[:, None]


MIDDLE = 9  # the middle finger's first joint


def scale_translation(
    points: NDArray, target: NDArray, start: int = 0, stop: int = MIDDLE
) -> NDArray:
    """Points scaled so that the bone start-stop has the target's length, then start onto start.

    Of a bone of length zero only the division is left out, as in HO-3D's evaluator (whose joint 4,
    the middle finger's first, is our joint 9).
    """
    check(points, target)
    length, wanted = (_length(x[:, stop] - x[:, start]) for x in (points, target))
    safe = np.where(length == 0, 1.0, length)[:, None, None]
    scaled = points / safe * wanted[:, None, None]
    # in this order: PCK at threshold 0 depends on the last bit of the start joint
    return scaled - scaled[:, start][:, None] + target[:, start][:, None]


def procrustes(
    points: NDArray, target: NDArray, reflection: bool = True, valid: NDArray | None = None
) -> NDArray:
    """Points under the similarity that brings them closest to target, one per sample.

    reflection True is the rule of the HO-3D, FreiHAND and DexYCB evaluators (A orthogonal, maybe
    with determinant -1, and 1e-8 added to both norms: a perfect prediction keeps an error of
    about 1e-9). False is Umeyama 1991, equations 40 to 43 (rotations only). valid (N, K): points
    that determine the transform; all are moved. Points that all coincide are only shifted.
    Raises ShapeError when shapes differ or K < 3.
    """
    check(points, target)
    points = points.astype(np.float64)
    target = target.astype(np.float64)
    if valid is None:
        source_centre, target_centre = points.mean(1, keepdims=True), target.mean(1, keepdims=True)
        source, wanted = points - source_centre, target - target_centre
        kept, goal = source, wanted
    else:
        weight = valid.astype(np.float64)[..., None]
        total = np.maximum(weight.sum(1, keepdims=True), 1.0)
        source_centre = np.where(weight > 0, points, 0).sum(1, keepdims=True) / total
        target_centre = np.where(weight > 0, target, 0).sum(1, keepdims=True) / total
        source, wanted = points - source_centre, target - target_centre
        kept, goal = np.where(weight > 0, source, 0), np.where(weight > 0, wanted, 0)
    epsilon = 1e-8 if reflection else 0.0
    source_norm = np.sqrt((kept**2).sum((1, 2), keepdims=True)) + epsilon
    target_norm = np.sqrt((goal**2).sum((1, 2), keepdims=True)) + epsilon
    flat = source_norm == 0
    source_norm = np.where(flat, 1.0, source_norm)
    safe_target = np.where(target_norm == 0, 1.0, target_norm)
    a, b = goal / safe_target, kept / source_norm
    U, s, Vt = np.linalg.svd(np.swapaxes(a, 1, 2) @ b)
    if not reflection:
        flip = np.linalg.det(U @ Vt) < 0
        s[flip, -1] *= -1
        U[flip, :, -1] *= -1
    R = U @ Vt
    scale = s.sum(1)[:, None, None]
    return (source / source_norm) @ np.swapaxes(R, 1, 2) * scale * target_norm + target_centre


def kabsch(points: NDArray, target: NDArray, valid: NDArray | None = None) -> NDArray[np.float64]:
    """Rotations (N, 3, 3) that turn centred points best onto the centred target (Kabsch 1976).

    valid (N, K): points that count. The rotation of the best similarity is the same one. NaN for
    a sample with a non-finite point or with fewer than 3 that count. Raises ShapeError.
    """
    check(points, target)
    counts = np.ones(points.shape[:2], bool) if valid is None else valid
    weight = counts[..., None].astype(np.float64)
    total = np.maximum(weight.sum(1, keepdims=True), 1.0)
    centred = []
    for cloud in (points, target):
        inside = np.where(counts[..., None], cloud.astype(np.float64), 0.0)
        centred.append((inside - inside.sum(1, keepdims=True) / total) * weight)
    covariance = np.swapaxes(centred[1], 1, 2) @ centred[0]
    fine = np.isfinite(covariance).all((1, 2)) & (counts.sum(1) >= 3)
    rotations = np.full(covariance.shape, np.nan)
    U, _, Vt = np.linalg.svd(covariance[fine])
    U[np.linalg.det(U @ Vt) < 0, :, -1] *= -1
    rotations[fine] = U @ Vt
    return rotations


def _length(vectors: NDArray) -> NDArray:
    """Norms (N,) rounded as numpy's norm of one vector: AUC at threshold 0 sees the last bit."""
    return np.sqrt(np.vecdot(vectors, vectors))


def check(points: NDArray, target: NDArray) -> None:
    """Raises ShapeError unless both are (N, K, 3) alike with K of at least 3."""
    if points.shape != target.shape or points.ndim != 3 or points.shape[2] != 3:
        raise ShapeError(f"points {points.shape} and target {target.shape} must both be (N, K, 3)")
    if points.shape[1] < 3:
        raise ShapeError(f"an alignment needs 3 points or more, got {points.shape[1]}")
