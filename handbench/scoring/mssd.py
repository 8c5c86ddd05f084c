"""Maximum symmetry-aware surface distance of object poses (MSSD), in BOP's and kypt's versions.

MSSD = min over symmetries S of max over the model's points x of ||E x - G S x||, where E is the
predicted and G the true pose (Drost et al. 2017; BOP challenge). The greatest distance under two
affine maps lies on a vertex of the convex hull, so hull points alone give the exact value.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from handbench.errors import ShapeError

BOP_STEP = 0.01  # share of the diameter that a point travels between two sampled rotations


@dataclass(frozen=True)
class Shape:
    """An object: hull points (P,3) and diameter in m, symmetries (S,4,4) with the identity."""

    points_m: NDArray
    symmetries: NDArray
    diameter_m: float = field(default=float("inf"))


def shape(points_m: NDArray, symmetries: NDArray | None = None) -> Shape:
    """A Shape of model points (P,3): hull, diameter, and the identity among the symmetries."""
    from scipy.spatial import ConvexHull
    from scipy.spatial.distance import pdist

    hull = points_m[ConvexHull(points_m).vertices]
    found = np.eye(4)[None] if symmetries is None else symmetries
    return Shape(hull, found, float(pdist(hull).max()))


def kept_shape(info: Mapping[str, Any]) -> Shape:
    """The Shape that the index of a split keeps of an object: hull_m, diameter_m, and maybe
    turns_deg, its symmetric rotations about the model's z axis."""
    turns = [about((0, 0, 1), (0, 0, 0), angle) for angle in info.get("turns_deg", (0.0,))]
    return Shape(np.array(info["hull_m"]), np.stack(turns), float(info["diameter_m"]))


def symmetries(
    discrete: Sequence[ArrayLike] = (),
    axes: Sequence[tuple[ArrayLike, ArrayLike]] = (),
    step: float = BOP_STEP,
) -> NDArray[np.float64]:
    """Discrete x continuous symmetries (S,4,4), the identity first.

    discrete: transforms (4,4) beside the identity; axes: (axis (3,), a point on it (3,)) of
    continuous symmetries, each sampled at ceil(pi / step) equal angles, as BOP does (315).
    """
    fixed = [np.eye(4), *(np.asarray(each, np.float64) for each in discrete)]
    if any(each.shape != (4, 4) for each in fixed):
        raise ShapeError("a discrete symmetry must be a (4, 4) transform")
    if not axes:
        return np.stack(fixed)
    steps = int(np.ceil(np.pi / step))
    turns = [
        about(axis, point, angle)
        for axis, point in axes
        for angle in np.arange(steps) * (360.0 / steps)
    ]
    return np.stack([turn @ each for each in fixed for turn in turns])


def about(axis: ArrayLike, point: ArrayLike, angle_deg: float) -> NDArray[np.float64]:
    """Rotation (4,4) by an angle about the line through a point along an axis."""
    x, y, z = np.asarray(axis, np.float64) / np.linalg.norm(axis)
    K = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    angle = np.radians(angle_deg)
    T = np.eye(4)
    T[:3, :3] += np.sin(angle) * K + (1 - np.cos(angle)) * K @ K
    T[:3, 3] = (np.eye(3) - T[:3, :3]) @ np.asarray(point, np.float64)
    return T


def mssd_mm(pred: NDArray, true: NDArray, model: Shape, early_inf: bool = False) -> NDArray:
    """MSSD (N,) in mm of poses pred, true (N,4,4), model to camera, in m.

    early_inf: BOP's rule that a pose whose centre is off by the diameter or more is infinitely
    wrong. NaN where a pose is not finite.
    """
    found = np.full(len(pred), np.nan)
    known = np.flatnonzero(np.isfinite(pred).all((1, 2)) & np.isfinite(true).all((1, 2)))
    R, t = model.symmetries[:, :3, :3], model.symmetries[:, :3, 3]
    turned = np.einsum("sij,pj->spi", R, model.points_m) + t[:, None]
    for n in known:
        there = model.points_m @ pred[n, :3, :3].T + pred[n, :3, 3]
        away = turned @ true[n, :3, :3].T + true[n, :3, 3] - there
        found[n] = np.sqrt((away**2).sum(-1).max(1).min()) * 1000.0
    if early_inf:
        off = np.linalg.norm(pred[:, :3, 3] - true[:, :3, 3], axis=1)
        found[off >= model.diameter_m] = np.inf
    return found


def average_recall(errors_mm: NDArray, diameters_m: NDArray) -> float:
    """BOP's AR_MSSD: mean share of errors below (strictly) 0.05, 0.10 … 0.50 of the diameter."""
    limits = np.arange(1, 11) * 0.05 * (diameters_m[:, None] * 1000.0)
    return float((errors_mm[:, None] < limits).mean())
