"""Errors in the picture: end points, PCK of the box, overlap of masks."""

import numpy as np
from numpy.typing import NDArray

from handbench.scoring.curves import row_mean
from handbench.scoring.hidden import over
from handbench.scoring.pairs import Pairs

# PCK thresholds as shares of the box; the name says hundredths
BOX_SHARES = {"005": 0.05, "010": 0.10, "015": 0.15}


def errors_px(pairs: Pairs) -> NDArray:
    """Distance (M, 21) of predicted and true joints in the picture; NaN where either is unknown."""
    assert pairs.joints_px_pred is not None and pairs.joints_px_true is not None
    difference = pairs.joints_px_pred.astype(np.float64) - pairs.joints_px_true
    return np.where(pairs.joints_valid, np.linalg.norm(difference, axis=-1), np.nan)


def epe_px(pairs: Pairs, visible: int | None = None) -> NDArray:
    """2D end-point error over all joints, or over the visible (1) or hidden (0) ones."""
    return _part(errors_px(pairs), pairs, visible)


def pck_box(pairs: Pairs, share: float, visible: int | None = None) -> NDArray:
    """Share of joints nearer (<=) than `share` of the longer side of the true tight box."""
    assert pairs.box_px is not None
    errors = errors_px(pairs)
    box = np.asarray(pairs.box_px, np.float64)[:, None]
    hits = np.where(np.isfinite(errors) & (box > 0), errors <= share * box, np.nan)
    return _part(hits, pairs, visible)


def iou(pred: NDArray, true: NDArray, classes: tuple[int, ...], void: int = 255) -> NDArray:
    """Overlap (len(classes),) of two label pictures (h, w): intersection over union of each class.

    Pixels that the truth calls void count for nothing. NaN for a class that neither picture has.
    """
    told = true != void
    found = []
    for label in classes:
        a, b = (pred == label) & told, (true == label) & told
        union = (a | b).sum()
        found.append((a & b).sum() / union if union else np.nan)
    return np.array(found)


def _part(values: NDArray, pairs: Pairs, visible: int | None) -> NDArray:
    return row_mean(values) if visible is None else over(values, pairs.joint_visible, visible)
