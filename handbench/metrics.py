"""METRICS: each a name, a unit, a direction and a function of matched hands -> one value a hand."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from handbench.pairs import Pairs

AUC_RANGE_MM = (0.0, 50.0)
AUC_STEPS = 100


@dataclass(frozen=True)
class Metric:
    """One column of a table. of(pairs) gives (M,), NaN for a hand that has no value."""

    name: str
    title: str
    unit: str
    better: str  # "lower" or "higher"
    needs: tuple[str, ...]
    of: Callable[[Pairs], NDArray]


def thresholds_mm() -> NDArray:
    """The PCK thresholds: 100 from 0 to 50 mm, both ends included (HO-3D, FreiHAND, DexYCB)."""
    return np.linspace(*AUC_RANGE_MM, AUC_STEPS)


def pck(errors_mm: NDArray) -> NDArray:
    """Share of errors <= each threshold, (100,); per keypoint first, then over keypoints.

    errors_mm (M, K); NaN entries do not count.
    """
    limits = thresholds_mm()
    curves = np.zeros((errors_mm.shape[1], len(limits)))
    for k, column in enumerate(errors_mm.T):
        known = np.sort(column[np.isfinite(column)])
        if len(known):
            curves[k] = np.searchsorted(known, limits, side="right") / len(known)
        else:
            curves[k] = np.nan
    return np.nanmean(curves, axis=0)


def auc(errors_mm: NDArray) -> NDArray:
    """Area under the PCK curve of each hand alone, (M,); their mean is the curve's own area.

    The trapezoid rule over 100 thresholds: an error counts (99 - i + 0.5) / 99 where i is the
    first threshold that reaches it (1 for an error of 0, which even the first reaches).
    """
    first = np.searchsorted(thresholds_mm(), errors_mm, side="left").astype(float)
    share = np.clip((AUC_STEPS - 0.5 - first) / (AUC_STEPS - 1), 0.0, 1.0)
    share[first == AUC_STEPS] = 0.0
    share[np.isnan(errors_mm)] = np.nan
    return row_mean(share)


def row_mean(values: NDArray) -> NDArray:
    """Mean over the known entries of each row; NaN for a row without any."""
    known = np.isfinite(values)
    count = known.sum(1)
    total = np.where(known, values, 0.0).sum(1)
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def _split(errors_mm: NDArray, visible: NDArray | None, wanted: bool) -> NDArray:
    assert visible is not None
    return row_mean(np.where(visible.astype(bool) == wanted, errors_mm, np.nan))


def _occlusion_accuracy(pairs: Pairs) -> NDArray:
    assert pairs.visibility_pred is not None and pairs.finger_visible is not None
    known = pairs.finger_visible <= 1
    right = (pairs.visibility_pred >= 0.5) == (pairs.finger_visible == 1)
    return row_mean(np.where(known & np.isfinite(pairs.visibility_pred), right, np.nan))


_VERTS, _ROOT, _SEEN = ("verts",), ("root",), ("joint_visible",)

METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("mpjpe_mm", "MPJPE", "mm", "lower", (), lambda p: row_mean(p.joint_errors_mm)),
        Metric(
            "pa_mpjpe_mm", "PA-MPJPE", "mm", "lower", (), lambda p: row_mean(p.pa_joint_errors_mm)
        ),
        Metric(
            "st_mpjpe_mm", "ST-MPJPE", "mm", "lower", (), lambda p: row_mean(p.st_joint_errors_mm)
        ),
        Metric(
            "raw_mpjpe_mm",
            "raw MPJPE",
            "mm",
            "lower",
            _ROOT,
            lambda p: row_mean(p.raw_joint_errors_mm),
        ),
        Metric("mpvpe_mm", "MPVPE", "mm", "lower", _VERTS, lambda p: row_mean(p.vert_errors_mm)),
        Metric(
            "pa_mpvpe_mm",
            "PA-MPVPE",
            "mm",
            "lower",
            _VERTS,
            lambda p: row_mean(p.pa_vert_errors_mm),
        ),
        Metric(
            "raw_auc50_joints",
            "raw J-AUC",
            "",
            "higher",
            _ROOT,
            lambda p: auc(p.raw_joint_errors_mm),
        ),
        Metric("auc50_joints", "J-AUC", "", "higher", (), lambda p: auc(p.joint_errors_mm)),
        Metric(
            "pa_auc50_joints", "PA J-AUC", "", "higher", (), lambda p: auc(p.pa_joint_errors_mm)
        ),
        Metric("auc50_verts", "V-AUC", "", "higher", _VERTS, lambda p: auc(p.vert_errors_mm)),
        Metric(
            "pa_auc50_verts", "PA V-AUC", "", "higher", _VERTS, lambda p: auc(p.pa_vert_errors_mm)
        ),
        Metric("f5", "F@5", "", "higher", _VERTS, lambda p: p.f_scores[:, 0]),
        Metric("f15", "F@15", "", "higher", _VERTS, lambda p: p.f_scores[:, 1]),
        Metric("pa_f5", "PA F@5", "", "higher", _VERTS, lambda p: p.pa_f_scores[:, 0]),
        Metric("pa_f15", "PA F@15", "", "higher", _VERTS, lambda p: p.pa_f_scores[:, 1]),
        Metric(
            "hidden_mpjpe_mm",
            "hidden joints: MPJPE",
            "mm",
            "lower",
            _SEEN,
            lambda p: _split(p.joint_errors_mm, p.joint_visible, False),
        ),
        Metric(
            "visible_mpjpe_mm",
            "visible joints: MPJPE",
            "mm",
            "lower",
            _SEEN,
            lambda p: _split(p.joint_errors_mm, p.joint_visible, True),
        ),
        Metric(
            "occlusion_acc",
            "occlusion accuracy",
            "",
            "higher",
            ("visibility",),
            _occlusion_accuracy,
        ),
    )
}


def measure(pairs: Pairs, names: tuple[str, ...]) -> dict[str, NDArray]:
    """The named metrics that these pairs can have, each (M,)."""
    return {
        name: METRICS[name].of(pairs)
        for name in names
        if all(pairs.has(need) for need in METRICS[name].needs)
    }
