"""Errors of motion: acceleration error and jitter of the joints over consecutive frames."""

import numpy as np
from numpy.typing import NDArray

from handbench.scoring.curves import row_mean


def neighbours(groups: NDArray, order: NDArray, reach: int) -> NDArray:
    """Rows (M, 2 reach + 1) of the frames order - reach … order + reach of the same group.

    groups (M,): one number for one hand of one sequence, camera and clip; order (M,): position of
    the frame. -1 where there is no such frame; two rows of one group never share an order.
    """
    M = len(order)
    sorted_rows = np.lexsort((order, groups))
    place = np.empty(M, np.int64)
    place[sorted_rows] = np.arange(M)
    found = np.full((M, 2 * reach + 1), -1)
    for column, step in enumerate(range(-reach, reach + 1)):
        at = place + step
        inside = (at >= 0) & (at < M)
        row = sorted_rows[np.where(inside, at, 0)]
        follows = inside & (groups[row] == groups) & (order[row] == order + step)
        found[follows, column] = row[follows]
    return found


def acceleration(points: NDArray, around: NDArray) -> NDArray:
    """Second difference x[t-1] - 2 x[t] + x[t+1] of points (M, K, 3); NaN at the ends."""
    before, now, after = (_at(points, rows) for rows in around.T)
    return before - 2 * now + after


def accel_mm(pred_m: NDArray, true_m: NDArray, valid: NDArray, around: NDArray) -> NDArray:
    """Acceleration error (M,) in mm per frame squared: mean over joints of the distance between
    predicted and true second differences (Kanazawa et al. 2019).

    pred_m, true_m (M, 21, 3) wrist-relative; around (M, 3) from `neighbours`. NaN where the frame
    before or after is missing.
    """
    true_m = np.where(valid[..., None], true_m, np.nan)
    difference = acceleration(pred_m, around) - acceleration(true_m, around)
    return row_mean(np.linalg.norm(difference, axis=-1) * 1000.0)


def jitter_mm(pred_m: NDArray, around: NDArray) -> NDArray:
    """Jitter (M,) in mm per frame cubed: mean length of the prediction's own third difference.

    x[t+2] - 3 x[t+1] + 3 x[t] - x[t-1], needing no truth; around (M, 5) from `neighbours`. NaN
    where one of the four frames is missing.
    """
    before, now, after, later = (_at(pred_m, rows) for rows in around.T[1:])
    third = later - 3 * after + 3 * now - before
    return row_mean(np.linalg.norm(third, axis=-1) * 1000.0)


def _at(points: NDArray, rows: NDArray) -> NDArray:
    return np.where((rows >= 0)[:, None, None], points[rows], np.nan)
