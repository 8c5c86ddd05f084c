"""F-scores of point sets: exact nearest distances, only between blocks that can be close."""

import numba
import numpy as np
from numpy.typing import NDArray

THRESHOLDS_M = (0.005, 0.015)
BLOCK = 16


def fscores(pred_m: NDArray, true_m: NDArray) -> NDArray[np.float64]:
    """Per-sample F-score at 5 and 15 mm, as HO-3D's and FreiHAND's evaluators define it.

    pred_m (N, P, 3), true_m (N, Q, 3). Returns (N, 2). Share of points whose nearest neighbour in
    the other set is closer than (strictly) the threshold, harmonic mean of both directions; 0
    when both are 0. Distances are float64 and square-rooted before the comparison, so equal to a
    brute-force search to the last bit. Samples with a non-finite point give NaN. Quickest when
    all samples share one topology: the first one's points say which vertices lie together.
    """
    pred = np.ascontiguousarray(pred_m, dtype=np.float64)
    true = np.ascontiguousarray(true_m, dtype=np.float64)
    counts = np.zeros((len(pred), 2, 2), dtype=np.int64)
    finite = np.isfinite(pred).all((1, 2)) & np.isfinite(true).all((1, 2))
    chosen = np.flatnonzero(finite)
    if len(chosen):
        true_order = morton_order(true[chosen[0]])
        alike = pred.shape[1] == true.shape[1]
        pred_order = true_order if alike else morton_order(pred[chosen[0]])
    limits = np.array(THRESHOLDS_M)
    for n in chosen:
        _count_close(pred[n], pred_order, true[n], true_order, limits, counts[n])
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
def _count_close(
    a: NDArray,
    a_order: NDArray,
    b: NDArray,
    b_order: NDArray,
    thresholds: NDArray,
    counts: NDArray,
) -> None:
    """counts[0, t], counts[1, t]: points of a, of b, with a neighbour closer than threshold t."""
    rows_a, rows_b = _rows(a, a_order), _rows(b, b_order)
    boxes_a, boxes_b = _boxes(rows_a), _boxes(rows_b)
    reach = thresholds.max() ** 2 * (1 + 1e-9)
    near_a = np.sqrt(_nearest(rows_a, boxes_a, rows_b, boxes_b, reach))
    near_b = np.sqrt(_nearest(rows_b, boxes_b, rows_a, boxes_a, reach))
    for t in range(len(thresholds)):
        counts[0, t] = (near_a < thresholds[t]).sum()
        counts[1, t] = (near_b < thresholds[t]).sum()


@numba.njit(cache=True)
def _rows(points: NDArray, order: NDArray) -> NDArray:
    """Points (P, 3) as x, y and z rows (3, P) in an order, so that neighbours are adjacent."""
    rows = np.empty((3, len(order)))
    for i in range(len(order)):
        for k in range(3):
            rows[k, i] = points[order[i], k]
    return rows


@numba.njit(cache=True)
def _boxes(rows: NDArray) -> NDArray:
    """Least and greatest coordinates (6, blocks) of each block of points."""
    blocks = (rows.shape[1] + BLOCK - 1) // BLOCK
    boxes = np.empty((6, blocks))
    for block in range(blocks):
        for k in range(3):
            part = rows[k, block * BLOCK : (block + 1) * BLOCK]
            boxes[k, block] = part.min()
            boxes[3 + k, block] = part.max()
    return boxes


@numba.njit(cache=True)
def _nearest(
    points: NDArray, boxes: NDArray, targets: NDArray, target_boxes: NDArray, reach: float
) -> NDArray:
    """Squared distance (P,) to the nearest target; exact below reach, some larger value above."""
    near = np.full(points.shape[1], np.inf)
    blocks = boxes.shape[1]
    gaps = np.empty(blocks)
    for j in range(target_boxes.shape[1]):
        _gaps(boxes, target_boxes[:, j], gaps)
        i = 0
        while i < blocks:
            first = i
            while i < blocks and gaps[i] <= reach:
                i += 1
            if first < i:  # blocks in a row make one long loop
                run = slice(first * BLOCK, i * BLOCK)
                x, y, z, nearest = points[0, run], points[1, run], points[2, run], near[run]
                for q in range(j * BLOCK, min((j + 1) * BLOCK, targets.shape[1])):
                    _approach(x, y, z, nearest, targets[0, q], targets[1, q], targets[2, q])
            i += 1
    return near


@numba.njit(cache=True)
def _gaps(boxes: NDArray, box: NDArray, gaps: NDArray) -> None:
    """gaps (blocks,): squared distance of each box to one box."""
    gaps[:] = 0.0
    for k in range(3):
        low, high, box_low, box_high = boxes[k], boxes[3 + k], box[k], box[3 + k]
        for i in range(len(gaps)):
            apart = max(0.0, max(low[i] - box_high, box_low - high[i]))
            gaps[i] += apart * apart


@numba.njit(cache=True)
def _approach(
    x: NDArray, y: NDArray, z: NDArray, nearest: NDArray, tx: float, ty: float, tz: float
) -> None:
    """Lower `nearest` where the target is nearer; one direction only, so that it vectorises."""
    for i in range(len(nearest)):
        dx, dy, dz = x[i] - tx, y[i] - ty, z[i] - tz
        nearest[i] = min(nearest[i], (dx * dx + dy * dy) + dz * dz)
