"""Predicted and true hands side by side, with their errors under each alignment."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from handbench.errors import ShapeError
from handbench.scoring import align

# What rounding leaves of a perfect alignment is no error: a PCK at 0 mm must count it as a hit.
ROUNDING_MM = 1e-8


@dataclass(frozen=True)
class Pairs:
    """M matched hands. Joints and vertices in metres, OpenCV axes, each relative to its own wrist.

    joints_* (M,21,3), verts_* (M,V,3) or None, root_* (M,3) or None: the wrist in the camera.
    joints_valid (M,21): false where the truth is not known. joint_visible (M,21), vert_visible
    (M,V), finger_visible (M,5): 1 where the part can be seen, 0 where not, 255 unknown, or None.
    visibility_pred (M,5): predicted share of 1. star_* (M,21,3): joints that one regressor takes
    from each mesh, relative to their own wrist. joints_px_* (M,21,2) and box_px (M,), the longer
    side of the true box. rotation_* (M,3,3): the root's rotation. reflection: whether Procrustes
    may mirror (the protocol's rule). Errors are NaN where the truth is missing; means skip them.
    """

    joints_pred_m: NDArray
    joints_true_m: NDArray
    joints_valid: NDArray
    verts_pred_m: NDArray | None = None
    verts_true_m: NDArray | None = None
    root_pred_m: NDArray | None = None
    root_true_m: NDArray | None = None
    joint_visible: NDArray | None = None
    vert_visible: NDArray | None = None
    finger_visible: NDArray | None = None
    visibility_pred: NDArray | None = None
    star_pred_m: NDArray | None = None
    star_true_m: NDArray | None = None
    joints_px_pred: NDArray | None = None
    joints_px_true: NDArray | None = None
    box_px: NDArray | None = None
    rotation_pred: NDArray | None = None
    rotation_true: NDArray | None = None
    reflection: bool = False

    def __post_init__(self) -> None:
        if self.joints_pred_m.shape != self.joints_true_m.shape:
            raise ShapeError(
                f"predicted joints {self.joints_pred_m.shape}, true {self.joints_true_m.shape}"
            )

    def __len__(self) -> int:
        return len(self.joints_true_m)

    def has(self, need: str) -> bool:
        """Whether what a metric needs (Metric.needs) is known on both sides."""
        both = {
            "verts": (self.verts_pred_m, self.verts_true_m),
            "root": (self.root_pred_m, self.root_true_m),
            "joint_visible": (self.joint_visible,),
            "vert_visible": (self.vert_visible,),
            "visibility": (self.visibility_pred, self.finger_visible),
            "star": (self.star_pred_m, self.star_true_m),
            "joints_px": (self.joints_px_pred, self.joints_px_true, self.box_px),
            "rotation": (self.rotation_pred, self.rotation_true),
        }[need]
        return all(part is not None for part in both)

    @cached_property
    def joint_errors_mm(self) -> NDArray:
        return self._distances(self.joints_pred_m, self.joints_true_m)

    @cached_property
    def pa_joint_errors_mm(self) -> NDArray:
        valid = None if self.joints_valid.all() else self.joints_valid
        return self._distances(self.similar(self.joints_pred_m, self.joints_true_m, valid))

    @cached_property
    def st_joint_errors_mm(self) -> NDArray:
        """NaN where the bone that gives the scale is not known."""
        moved = align.scale_translation(self.joints_pred_m, self.joints_true_m)
        return np.where(self.joints_valid[:, [align.MIDDLE]], self._distances(moved), np.nan)

    @cached_property
    def raw_joint_errors_mm(self) -> NDArray:
        return self._distances(self.joints_pred_m + self._offset_m)

    @cached_property
    def vert_errors_mm(self) -> NDArray:
        return distances_mm(self._verts[0], self._verts[1])

    @cached_property
    def pa_verts_m(self) -> NDArray:
        return self.similar(*self._verts, None)

    @cached_property
    def pa_vert_errors_mm(self) -> NDArray:
        return distances_mm(self.pa_verts_m, self._verts[1])

    @cached_property
    def star_errors_mm(self) -> NDArray:
        """(M,21) of J*: NaN where a mesh is missing."""
        assert self.star_pred_m is not None and self.star_true_m is not None
        return distances_mm(self.star_pred_m, self.star_true_m)

    @cached_property
    def pa_star_errors_mm(self) -> NDArray:
        assert self.star_pred_m is not None and self.star_true_m is not None
        moved = self.similar(self.star_pred_m, self.star_true_m, None)
        return distances_mm(moved, self.star_true_m)

    @cached_property
    def f_scores(self) -> NDArray:
        """(M, 2) at 5 and 15 mm, wrist-aligned."""
        from handbench.scoring.fscore import fscores

        return fscores(*self._verts)

    @cached_property
    def pa_f_scores(self) -> NDArray:
        from handbench.scoring.fscore import fscores

        return fscores(self.pa_verts_m, self._verts[1])

    @property
    def _verts(self) -> tuple[NDArray, NDArray]:
        assert self.verts_pred_m is not None and self.verts_true_m is not None
        return self.verts_pred_m.astype(np.float64), self.verts_true_m.astype(np.float64)

    @property
    def _offset_m(self) -> NDArray:
        assert self.root_pred_m is not None and self.root_true_m is not None
        return (self.root_pred_m - self.root_true_m)[:, None]

    def similar(
        self, points: NDArray, target: NDArray, valid: NDArray | None, least: int = 3
    ) -> NDArray:
        """Procrustes of the finite samples; the others become NaN.

        valid (M, K): points that determine the transform, at least `least` of them.
        """
        known = np.isfinite(points).all((1, 2))
        reached = np.isfinite(target).all((1, 2)) if valid is None else valid.sum(1) >= least
        fine = known & reached
        moved = np.full(points.shape, np.nan)
        if fine.any():
            part = None if valid is None else valid[fine]
            moved[fine] = align.procrustes(points[fine], target[fine], self.reflection, part)
        return moved

    def _distances(self, points: NDArray, target: NDArray | None = None) -> NDArray:
        target = self.joints_true_m if target is None else target
        return np.where(self.joints_valid, distances_mm(points, target), np.nan)


def distances_mm(points_m: NDArray, target_m: NDArray) -> NDArray:
    """Distances (…, P) in mm of points (…, P, 3) in m; 0 where they are float rounding."""
    difference = points_m.astype(np.float64) - target_m.astype(np.float64)
    errors_mm = np.sqrt((difference**2).sum(-1)) * 1000.0
    return np.where(errors_mm < ROUNDING_MM, 0.0, errors_mm)
