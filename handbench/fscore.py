"""F-scores of point sets: exact nearest distances, only between blocks that can be close."""

import numba
import numpy as np
from numpy.typing import NDArray

THRESHOLDS_M = (0.005, 0.015)
BLOCK = 8


def fscores(pred_m: NDArray, true_m: NDArray) -> NDArray[np.float64]:
    """Per-sample F-score at 5 and 15 mm, as HO-3D's and FreiHAND's evaluators define it.

    pred_m (N, P, 3), true_m (N, Q, 3). Returns (N, 2). Share of points whose nearest neighbour in
    the other set is closer than (strictly) the threshold, harmonic mean of both directions; 0
    when both are 0. Distances are float64 and square-rooted before the comparison, so equal to a
    brute-force search to the last bit. Samples with a non-finite point give NaN.
    """
    pred = np.ascontiguousarray(pred_m, dtype=np.float64)
    true = np.ascontiguousarray(true_m, dtype=np.float64)
    counts = np.zeros((len(pred), 2, 2), dtype=np.int64)
    finite = np.isfinite(pred).all((1, 2)) & np.isfinite(true).all((1, 2))
    for n in np.flatnonzero(finite):
        a, b = pred[n][morton_order(pred[n])], true[n][morton_order(true[n])]
        _count_close(a, b, np.array(THRESHOLDS_M), counts[n])
    precision = counts[:, 0] / pred.shape[1]
    recall = counts[:, 1] / true.shape[1]
    both = precision + recall
    score = np.where(both > 0, 2 * precision * recall / np.where(both > 0, both, 1), 0.0)
    score[~finite] = np.nan
    return score


@numba.njit(cache=True)
def morton_order(points: NDArray) -> NDArray:
    """Order of points (P, 3) along a Z-curve of 1,024 cells a side over their box."""
    codes = np.empty(len(points), np.int64)
    low = np.empty(3)
    span = 0.0
    for k in range(3):
        low[k] = points[:, k].min()
        span = max(span, points[:, k].max() - low[k])
    for i in range(len(points)):
        code = 0
        for k in range(3):
            cell = 0 if span <= 0 else min(1023, int((points[i, k] - low[k]) / span * 1023))
            for bit in range(10):
                code |= ((cell >> bit) & 1) << (3 * bit + k)
        codes[i] = code
    return np.argsort(codes, kind="mergesort")


@numba.njit(cache=True)
def _boxes(points: NDArray) -> NDArray:
    blocks = (len(points) + BLOCK - 1) // BLOCK
    boxes = np.empty((blocks, 6))
    for block in range(blocks):
        part = points[block * BLOCK : (block + 1) * BLOCK]
        for k in range(3):
            boxes[block, k] = part[:, k].min()
            boxes[block, 3 + k] = part[:, k].max()
    return boxes


@numba.njit(cache=True)
def _count_close(a: NDArray, b: NDArray, thresholds: NDArray, counts: NDArray) -> None:
    """counts[0, t], counts[1, t]: points of a, of b, with a neighbour closer than threshold t."""
    boxes_a, boxes_b = _boxes(a), _boxes(b)
    near_a = np.full(len(a), np.inf)
    near_b = np.full(len(b), np.inf)
    reach = thresholds.max() ** 2 * (1 + 1e-9)
    for i in range(len(boxes_a)):
        for j in range(len(boxes_b)):
            gap = 0.0
            for k in range(3):
                apart = max(
                    0.0, boxes_a[i, k] - boxes_b[j, 3 + k], boxes_b[j, k] - boxes_a[i, 3 + k]
                )
                gap += apart * apart
            if gap > reach:
                continue
            for p in range(i * BLOCK, min((i + 1) * BLOCK, len(a))):
                x, y, z, nearest = a[p, 0], a[p, 1], a[p, 2], near_a[p]
                for q in range(j * BLOCK, min((j + 1) * BLOCK, len(b))):
                    dx, dy, dz = x - b[q, 0], y - b[q, 1], z - b[q, 2]
                    d = (dx * dx + dy * dy) + dz * dz
                    nearest = min(nearest, d)
                    near_b[q] = min(near_b[q], d)
                near_a[p] = nearest
    for t in range(len(thresholds)):
        counts[0, t] = (np.sqrt(near_a) < thresholds[t]).sum()
        counts[1, t] = (np.sqrt(near_b) < thresholds[t]).sum()
