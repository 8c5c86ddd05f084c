"""How well a method knows which fingers are hidden: accuracy, average precision, calibration.

Fingers' visibility labels are 1 visible, 0 hidden, 255 unknown; predictions are the probability
that a finger is visible. Hidden is the class that is looked for.
"""

import numpy as np
from numpy.typing import NDArray

from handbench.scoring.curves import row_mean
from handbench.scoring.pairs import Pairs

BINS = 10


def accuracy(pairs: Pairs) -> NDArray:
    """Share (M,) of a hand's fingers whose predicted visibility agrees with the label at 0.5."""
    assert pairs.visibility_pred is not None and pairs.finger_visible is not None
    known = pairs.finger_visible <= 1
    right = (pairs.visibility_pred >= 0.5) == (pairs.finger_visible == 1)
    return row_mean(np.where(known & np.isfinite(pairs.visibility_pred), right, np.nan))


def average_precision(hidden: NDArray, score: NDArray, weights: NDArray) -> float:
    """Sum of precision x gain in recall down the ranking by score, without interpolation.

    hidden (N,) bool, score (N,) the higher the more hidden, weights (N,). Equal scores are one
    step. NaN without a hidden finger.
    """
    order = np.argsort(-score, kind="stable")
    last = np.append(np.diff(score[order]) != 0, True)
    taken = weights[order]
    true = np.cumsum(taken * hidden[order])[last]
    total = np.cumsum(taken)[last]
    if not len(true) or true[-1] == 0:
        return float("nan")
    precision = true / np.where(total > 0, total, 1.0)
    return float((np.diff(true, prepend=0.0) * precision).sum() / true[-1])


def calibration_error(visible: NDArray, probability: NDArray, weights: NDArray) -> float:
    """Expected calibration error over 10 equal bins of the probability of being visible.

    Sum over bins of the bin's share x |share visible - mean probability| (Guo et al. 2017, eq. 3).
    """
    bins = np.minimum((probability * BINS).astype(int), BINS - 1)
    size = np.bincount(bins, weights, BINS)
    seen = np.bincount(bins, weights * visible, BINS)
    told = np.bincount(bins, weights * probability, BINS)
    return float(np.abs(seen - told).sum() / size.sum()) if size.sum() else float("nan")
