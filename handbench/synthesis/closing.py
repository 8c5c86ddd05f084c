"""Closing one finger on an object until its links touch, many starting shapes at a time.

A finger is a chain of three joints on a fixed palm. Its flexions grow step by step; where a link
touches, that link and all before it stop and the ones beyond go on (the rule of Miller and Allen
2004, GraspIt). Angles are radians (3 joints; flexion, abduction, twist); pose offsets are left out
here, `grasp.settle` repairs the difference with the whole hand model.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from handbench.hand import Hand
from handbench.synthesis.distance import Grid, sample

CHAINS = ((13, 14, 15), (1, 2, 3), (4, 5, 6), (10, 11, 12), (7, 8, 9))  # thumb … little
TOUCH_M = 0.0008
NEAR_M = 0.0018


@dataclass(frozen=True)
class Finger:
    """One finger of a shaped hand at rest, wrist at the origin.

    rest (M, 3) m; weights (M, 4): the palm's and the three joints'; link (M,): 0..2, -1 where no
    joint dominates; joints (3, 3) m; axes (3, 3, 3).
    """

    rest: NDArray[np.float64]
    weights: NDArray[np.float64]
    link: NDArray[np.int64]
    joints: NDArray[np.float64]
    axes: NDArray[np.float64]


@dataclass(frozen=True)
class Closed:
    """K closings: angles (K, 3, 3); touches (K, 3) bool by link; near (K,) vertices near the
    object; normal (K, 3) mean outward object normal there, hand frame; blocked (K,): met the
    object in the starting shape."""

    angles: NDArray[np.float64]
    touches: NDArray[np.bool_]
    near: NDArray[np.int64]
    normal: NDArray[np.float64]
    blocked: NDArray[np.bool_]


def fingers(hand: Hand, verts_m: NDArray) -> list[Finger]:
    """The five fingers (thumb first) of a hand whose rest shape is verts_m (778, 3)."""
    joints = hand.J_regressor @ verts_m
    joints, verts = joints - joints[0], verts_m - joints[0]
    assert hand.joint_axes is not None
    chains = []
    for part, chain in enumerate(CHAINS, start=1):
        ids = np.flatnonzero(hand.vertex_part == part)
        own = hand.weights[ids][:, chain]
        link = np.where(own.max(1) > 0.6, own.argmax(1), -1)
        weights = np.concatenate([1 - own.sum(1, keepdims=True), own], 1)
        arrays = (verts[ids], weights, link, joints[list(chain)], hand.joint_axes[list(chain)])
        rest, weights, link, base, axes = (np.ascontiguousarray(a) for a in arrays)
        chains.append(Finger(rest, weights, link.astype(np.int64), base, axes))
    return chains


@njit(cache=True)
def _turn(axis, angle):
    """Rotation matrix about a unit axis."""
    x, y, z = axis
    c, s = np.cos(angle), np.sin(angle)
    k = 1 - c
    return np.array(
        [
            [c + x * x * k, x * y * k - z * s, x * z * k + y * s],
            [y * x * k + z * s, c + y * y * k, y * z * k - x * s],
            [z * x * k - y * s, z * y * k + x * s, c + z * z * k],
        ]
    )


@njit(cache=True)
def bend_finger(
    rest: NDArray,
    weights: NDArray,
    joints: NDArray,
    axes: NDArray,
    angles: NDArray,
    out: NDArray,
) -> None:
    """Skinned vertices (M, 3) of one finger into out.

    rest (M, 3) with weights (M, 4) of the palm and joints (3, 3), which turn by angles (3, 3) rad
    of flexion, abduction and twist about axes (3, 3, 3).
    """
    turns = np.empty((3, 3, 3))
    shifts = np.empty((3, 3))
    whole = np.eye(3)
    origin = joints[0].copy()
    for k in range(3):
        if k > 0:
            origin = origin + whole @ (joints[k] - joints[k - 1])
        local = _turn(axes[k, 1], angles[k, 1]) @ _turn(axes[k, 0], angles[k, 0])
        whole = whole @ (local @ _turn(axes[k, 2], angles[k, 2]))
        turns[k] = whole
        shifts[k] = origin - whole @ joints[k]
    for i in range(len(rest)):
        x, y, z = rest[i]
        for r in range(3):
            total = weights[i, 0] * rest[i, r]
            for k in range(3):
                w = weights[i, k + 1]
                if w > 0:
                    q = turns[k, r, 0] * x + turns[k, r, 1] * y + turns[k, r, 2] * z + shifts[k, r]
                    total += w * q
            out[i, r] = total


@njit(cache=True)
def _to_object(point, turn, shift, out):
    """out = turn.T (point - shift)."""
    x, y, z = point[0] - shift[0], point[1] - shift[1], point[2] - shift[2]
    for k in range(3):
        out[k] = turn[0, k] * x + turn[1, k] * y + turn[2, k] * z


@njit(cache=True)
def _close(
    rest, weights, link, joints, axes, starts, rates, tops, values, origin, step, turn, shift
):
    count, size = len(starts), len(rest)
    angles = starts.copy()
    touches = np.zeros((count, 3), np.bool_)
    near = np.zeros(count, np.int64)
    normal = np.zeros((count, 3))
    blocked = np.zeros(count, np.bool_)
    verts, q, least = np.empty((size, 3)), np.empty(3), np.empty(3)
    for n in range(count):
        frozen = np.zeros(3, np.bool_)
        scale = 1.0
        bend_finger(rest, weights, joints, axes, angles[n], verts)
        for i in range(size):
            _to_object(verts[i], turn, shift, q)
            if sample(values, origin, step, q) < 0:
                blocked[n] = True
                break
        if blocked[n]:
            continue
        for _ in range(80):
            trial = angles[n].copy()
            moved = False
            for k in range(3):
                if not frozen[k] and trial[k, 0] < tops[n, k]:
                    trial[k, 0] = min(trial[k, 0] + scale * rates[n, k], tops[n, k])
                    moved = True
            if not moved:
                break
            bend_finger(rest, weights, joints, axes, trial, verts)
            least[:] = 1.0
            for i in range(size):
                if link[i] >= 0:
                    _to_object(verts[i], turn, shift, q)
                    d = sample(values, origin, step, q)
                    least[link[i]] = min(least[link[i]], d)
            hit = -1
            for k in range(3):
                if least[k] < TOUCH_M:
                    hit = k
            fresh = hit >= 0 and not frozen[hit]
            if fresh and scale > 0.2:
                scale *= 0.5  # come closer in smaller steps before stopping
            elif fresh:
                for k in range(hit + 1):
                    touches[n, k] = touches[n, k] or least[k] < TOUCH_M
                    frozen[k] = True
                scale = 1.0
            elif hit >= 0 and least[hit] < -TOUCH_M:
                break  # what moves on would push a resting link into the object
            else:
                angles[n] = trial
        bend_finger(rest, weights, joints, axes, angles[n], verts)
        for i in range(size):
            _to_object(verts[i], turn, shift, q)
            d = sample(values, origin, step, q)
            if d < NEAR_M:
                near[n] += 1
                for k in range(3):
                    q[k] += step
                    normal[n, k] += sample(values, origin, step, q) - d
                    q[k] -= step
    for n in range(count):
        length = np.sqrt((normal[n] ** 2).sum())
        if length > 0:
            normal[n] = turn @ (normal[n] / length)
    return angles, touches, near, normal, blocked


def close(
    finger: Finger,
    starts: NDArray,
    rates: NDArray,
    tops: NDArray,
    grid: Grid,
    turn: NDArray,
    shift: NDArray,
) -> Closed:
    """Close K starting shapes (K, 3, 3) by flexion rates (K, 3) per step up to tops (K, 3), rad.

    grid: the object's distances in its model frame; turn (3, 3), shift (3,): model -> hand frame.
    """
    arrays = (starts, rates, tops, turn, shift)
    starts, rates, tops, turn, shift = (np.ascontiguousarray(a, np.float64) for a in arrays)
    closed = _close(
        finger.rest,
        finger.weights,
        finger.link,
        finger.joints,
        finger.axes,
        starts,
        rates,
        tops,
        grid.values,
        grid.origin,
        grid.step,
        turn,
        shift,
    )
    return Closed(*closed)


@njit(cache=True)
def count_behind(
    points: NDArray, verts: NDArray, normals: NDArray, reach: float = 0.012, depth: float = 0.002
) -> int:
    """How many points lie more than `depth` behind the nearest vertex's tangent plane."""
    count = 0
    for i in range(len(points)):
        best, at = reach * reach, -1
        for j in range(len(verts)):
            dx = points[i, 0] - verts[j, 0]
            dy = points[i, 1] - verts[j, 1]
            dz = points[i, 2] - verts[j, 2]
            d = dx * dx + dy * dy + dz * dz
            if d < best:
                best, at = d, j
        if at >= 0 and np.dot(points[i] - verts[at], normals[at]) < -depth:
            count += 1
    return count
