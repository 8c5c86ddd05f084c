"""Which way the whole hand points, which Procrustes alignment hides."""

import numpy as np
from numpy.typing import NDArray

from handbench.scoring.align import kabsch
from handbench.scoring.curves import row_mean
from handbench.scoring.pairs import Pairs, distances_mm

COINCIDE_M = 1e-9  # what rounding leaves of points that are all the same


def rotation_deg(pairs: Pairs) -> NDArray:
    """Angle of the rotation that turns the prediction best onto the truth (Kabsch).

    By the vertices of hands that have both meshes, by the joints of the others. NaN for predicted
    points that all coincide: they are not turned to any side.
    """
    found = _turn(pairs.joints_pred_m, pairs.joints_true_m, pairs.joints_valid)
    if pairs.verts_pred_m is not None and pairs.verts_true_m is not None:
        all_of_them = np.ones(pairs.verts_pred_m.shape[:2], bool)
        by_mesh = _turn(pairs.verts_pred_m, pairs.verts_true_m, all_of_them)
        found = np.where(np.isfinite(by_mesh), by_mesh, found)
    return angle_deg(found)


def root_rotation_deg(pairs: Pairs) -> NDArray:
    """Angle between the predicted and the true rotation of the wrist."""
    assert pairs.rotation_pred is not None and pairs.rotation_true is not None
    return angle_deg(np.swapaxes(pairs.rotation_true, 1, 2) @ pairs.rotation_pred)


def canonical_mm(pairs: Pairs) -> NDArray:
    """Joint error after the best rigid motion, rotation and shift without scale: the pose's own."""
    valid = pairs.joints_valid
    R = kabsch(pairs.joints_pred_m, pairs.joints_true_m, valid)
    moved = _centred(pairs.joints_pred_m, valid) @ np.swapaxes(R, 1, 2)
    errors = distances_mm(moved, _centred(pairs.joints_true_m, valid))
    return row_mean(np.where(valid, errors, np.nan))


def scale_ratio(pairs: Pairs) -> NDArray:
    """Predicted size over true size: root mean square distance of the joints from their mean."""
    valid = pairs.joints_valid
    sizes = [_size_m(points, valid) for points in (pairs.joints_pred_m, pairs.joints_true_m)]
    return np.where(sizes[1] > 0, sizes[0] / np.where(sizes[1] > 0, sizes[1], 1), np.nan)


def angle_deg(rotations: NDArray) -> NDArray:
    """Angle 0 to 180 of rotations (M, 3, 3), exact for small ones too, NaN where unknown.

    Half the norm of the antisymmetric part is the sine, half of trace - 1 the cosine.
    """
    R = rotations
    axis = np.stack([R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], 1)
    return np.degrees(np.arctan2(np.linalg.norm(axis, axis=1), np.trace(R, axis1=1, axis2=2) - 1))


def _turn(points: NDArray, target: NDArray, valid: NDArray) -> NDArray:
    rotations = kabsch(points, target, valid)
    rotations[~(_size_m(points, valid) > COINCIDE_M)] = np.nan
    return rotations


def _size_m(points: NDArray, valid: NDArray) -> NDArray:
    return np.sqrt(row_mean(np.where(valid, (_centred(points, valid) ** 2).sum(-1), np.nan)))


def _centred(points: NDArray, valid: NDArray) -> NDArray:
    count = np.maximum(valid.sum(1), 1)[:, None, None]
    inside = np.where(valid[..., None], points, 0.0)
    return points - inside.sum(1, keepdims=True) / count
