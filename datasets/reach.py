"""What of an object can hide a hand: the rest of a fine mesh is left out before it is drawn."""

from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import NDArray

from handbench import frames
from handbench.raster import NEAR_M

MARGIN_PX = 1.0  # labels ask for a vertex' nearest pixel, half a pixel beyond the outline at most


def hand_reach(hands_m: Sequence[NDArray], K: NDArray) -> NDArray[np.float64]:
    """Left, top, right, bottom (px) around hands' vertices (V,3) m, and the farthest depth (m).

    Unbounded where a hand reaches behind the camera.
    """
    points = np.concatenate(hands_m)
    far = points[:, 2].max()
    if points[:, 2].min() < NEAR_M:
        return np.array([-np.inf, -np.inf, np.inf, np.inf, far])
    pixels = frames.project(points, K)
    return np.array([*(pixels.min(0) - MARGIN_PX), *(pixels.max(0) + MARGIN_PX), far])


def may_hide(hull_m: NDArray, reach: NDArray, K: NDArray) -> bool:
    """Whether an object with this convex hull (P,3) m is nearer than the farthest point of the
    hands somewhere, and crosses their box in the picture."""
    near = hull_m[:, 2].min()
    if near >= reach[4]:
        return False
    if near < NEAR_M:
        return True
    pixels = frames.project(hull_m, K)
    return bool((pixels.min(0) <= reach[2:4]).all() and (pixels.max(0) >= reach[:2]).all())


def cut_to_reach(
    verts_m: NDArray, faces: NDArray, T: NDArray, K: NDArray, reach: NDArray
) -> tuple[NDArray[np.float64], NDArray[np.int32]]:
    """A model (V,3), (F,3) in the camera frame, without faces that lie beside the hands' box.

    Exact: such a face covers no pixel of the box and no line of sight to a vertex in it.
    """
    T, K = (np.ascontiguousarray(each, np.float64) for each in (T, K))
    return _cut(np.ascontiguousarray(verts_m), faces, T, K, reach)


@njit(cache=True, error_model="numpy")
def _cut(verts, faces, T, K, reach):
    """Which side of the box each vertex is on; faces with all three on one side are left out."""
    points = np.empty((len(verts), 3))
    side = np.zeros(len(verts), np.uint8)
    for v in range(len(verts)):
        x, y, z = verts[v, 0], verts[v, 1], verts[v, 2]
        for k in range(3):
            points[v, k] = T[k, 0] * x + T[k, 1] * y + T[k, 2] * z + T[k, 3]
        depth = points[v, 2]
        if depth < NEAR_M:
            continue
        u = (K[0, 0] * points[v, 0] + K[0, 1] * points[v, 1]) / depth + K[0, 2]
        w = K[1, 1] * points[v, 1] / depth + K[1, 2]
        side[v] = (u < reach[0]) | (u > reach[2]) << 1 | (w < reach[1]) << 2 | (w > reach[3]) << 3
    number = np.full(len(verts), -1, np.int32)
    kept, used = np.empty((len(faces), 3), np.int32), np.empty((len(verts), 3))
    count = vertices = 0
    for f in range(len(faces)):
        if side[faces[f, 0]] & side[faces[f, 1]] & side[faces[f, 2]]:
            continue
        for k in range(3):
            v = faces[f, k]
            if number[v] < 0:
                number[v] = vertices
                used[vertices] = points[v]
                vertices += 1
            kept[count, k] = number[v]
        count += 1
    return used[:vertices], kept[:count]
