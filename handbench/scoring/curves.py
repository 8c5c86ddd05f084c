"""PCK curves, their area, and means over what is known."""

import numpy as np
from numpy.typing import NDArray

AUC_RANGE_MM = (0.0, 50.0)
AUC_STEPS = 100


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
