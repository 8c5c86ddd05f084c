"""Signed distance to closed meshes: exact in a band, on a grid; and winding numbers.

Only the building of the grasp library needs it. Everything is exact arithmetic over all near
triangles, so results depend on nothing but the mesh.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

BAND_M = 0.012


@dataclass(frozen=True)
class Grid:
    """Signed distance samples (X, Y, Z) f4 m, negative inside; origin (3,) m; step m."""

    values: NDArray[np.float32]
    origin: NDArray[np.float64]
    step: float


@njit(cache=True)
def _dot(u, v):
    return u[0] * v[0] + u[1] * v[1] + u[2] * v[2]


@njit(cache=True)
def _away(p, q):
    """p - q as a tuple: arrays would be allocated in the innermost loop."""
    return p[0] - q[0], p[1] - q[1], p[2] - q[2]


@njit(cache=True)
def _mix(u, v, s, w, t):
    """Squared length of u - v s - w t."""
    x, y, z = (
        u[0] - v[0] * s - w[0] * t,
        u[1] - v[1] * s - w[1] * t,
        u[2] - v[2] * s - w[2] * t,
    )
    return x * x + y * y + z * z


@njit(cache=True)
def point_triangle(p: NDArray, a: NDArray, b: NDArray, c: NDArray) -> float:
    """Squared distance from a point to a triangle (Ericson 2005, section 5.1.5)."""
    ab, ac, ap = _away(b, a), _away(c, a), _away(p, a)
    d1, d2 = _dot(ab, ap), _dot(ac, ap)
    if d1 <= 0 and d2 <= 0:
        return _dot(ap, ap)
    bp = _away(p, b)
    d3, d4 = _dot(ab, bp), _dot(ac, bp)
    if d3 >= 0 and d4 <= d3:
        return _dot(bp, bp)
    vc = d1 * d4 - d3 * d2
    if vc <= 0 and d1 >= 0 and d3 <= 0:
        return _mix(ap, ab, d1 / (d1 - d3), ac, 0.0)
    cp = _away(p, c)
    d5, d6 = _dot(ab, cp), _dot(ac, cp)
    if d6 >= 0 and d5 <= d6:
        return _dot(cp, cp)
    vb = d5 * d2 - d1 * d6
    if vb <= 0 and d2 >= 0 and d6 <= 0:
        return _mix(ap, ac, d2 / (d2 - d6), ab, 0.0)
    va = d3 * d6 - d5 * d4
    if va <= 0 and d4 - d3 >= 0 and d5 - d6 >= 0:
        return _mix(bp, _away(c, b), (d4 - d3) / ((d4 - d3) + (d5 - d6)), ab, 0.0)
    return _mix(ap, ab, vb / (va + vb + vc), ac, vc / (va + vb + vc))


@njit(cache=True)
def _fill_band(verts, faces, origin, step, band, squared):
    """Least squared distance at all grid points within `band` of each triangle's box."""
    top = np.array(squared.shape) - 1
    p = np.empty(3)
    low, high = np.empty(3, np.int64), np.empty(3, np.int64)
    for f in range(len(faces)):
        a, b, c = verts[faces[f, 0]], verts[faces[f, 1]], verts[faces[f, 2]]
        for k in range(3):
            least, most = min(a[k], b[k], c[k]), max(a[k], b[k], c[k])
            low[k] = max(0, int(np.ceil((least - band - origin[k]) / step)))
            high[k] = min(top[k], int(np.floor((most + band - origin[k]) / step)))
        for i in range(low[0], high[0] + 1):
            p[0] = origin[0] + i * step
            for j in range(low[1], high[1] + 1):
                p[1] = origin[1] + j * step
                for k in range(low[2], high[2] + 1):
                    p[2] = origin[2] + k * step
                    d = point_triangle(p, a, b, c)
                    if d < squared[i, j, k]:
                        squared[i, j, k] = d


@njit(cache=True)
def _count_layers(verts, faces, origin, step, layers):
    """Winding number at grid points: signed crossings of the vertical line below each.

    The lines stand a little beside the grid points, so that none meets an edge.
    """
    x0, y0 = origin[0] + 1.234567e-7, origin[1] + 2.345678e-7
    for f in range(len(faces)):
        a, b, c = verts[faces[f, 0]], verts[faces[f, 1]], verts[faces[f, 2]]
        area = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])
        if area == 0:
            continue
        i0 = max(0, int(np.ceil((min(a[0], b[0], c[0]) - x0) / step)))
        i1 = min(layers.shape[0] - 1, int(np.floor((max(a[0], b[0], c[0]) - x0) / step)))
        j0 = max(0, int(np.ceil((min(a[1], b[1], c[1]) - y0) / step)))
        j1 = min(layers.shape[1] - 1, int(np.floor((max(a[1], b[1], c[1]) - y0) / step)))
        for i in range(i0, i1 + 1):
            x = x0 + i * step
            for j in range(j0, j1 + 1):
                y = y0 + j * step
                u = ((b[0] - x) * (c[1] - y) - (b[1] - y) * (c[0] - x)) / area
                v = ((c[0] - x) * (a[1] - y) - (c[1] - y) * (a[0] - x)) / area
                if u < 0 or v < 0 or u + v > 1:
                    continue
                z = u * a[2] + v * b[2] + (1 - u - v) * c[2]
                k = max(0, int(np.ceil((z - origin[2]) / step)))
                if k < layers.shape[2]:
                    layers[i, j, k] += -1 if area > 0 else 1


def grid(verts_m: NDArray, faces: NDArray, step_m: float = 0.002, pad_m: float = 0.014) -> Grid:
    """Signed distance of a closed mesh on a grid; exact within BAND_M, a bound beyond.

    Overlapping closed parts count as one body (winding number above 0).
    """
    from scipy.ndimage import distance_transform_edt

    verts = np.ascontiguousarray(verts_m, np.float64)
    faces = np.ascontiguousarray(faces, np.int64)
    origin = verts.min(0) - pad_m
    shape = np.ceil((verts.max(0) + pad_m - origin) / step_m).astype(int) + 1
    squared = np.full(shape, np.inf)
    _fill_band(verts, faces, origin, step_m, BAND_M, squared)
    layers = np.zeros(shape, np.int16)
    _count_layers(verts, faces, origin, step_m, layers)
    inside = np.cumsum(layers, axis=2) > 0
    distance = np.sqrt(squared)
    far = distance > BAND_M
    beyond = distance_transform_edt(far) * step_m + BAND_M - 2 * step_m
    distance = np.where(far, np.maximum(beyond, BAND_M), distance)
    return Grid(np.where(inside, -distance, distance).astype(np.float32), origin, step_m)


@njit(cache=True)
def sample(values: NDArray, origin: NDArray, step: float, p: NDArray) -> float:
    """Trilinear value at one point; outside the grid the way to it is added."""
    extra = 0.0
    n = values.shape
    q = np.empty(3)
    for k in range(3):
        x = (p[k] - origin[k]) / step
        q[k] = min(max(x, 0.0), n[k] - 1.001)
        extra += (x - q[k]) ** 2
    i, j, k = int(q[0]), int(q[1]), int(q[2])
    u, v, w = q[0] - i, q[1] - j, q[2] - k
    low = (1 - v) * ((1 - w) * values[i, j, k] + w * values[i, j, k + 1]) + v * (
        (1 - w) * values[i, j + 1, k] + w * values[i, j + 1, k + 1]
    )
    i += 1
    high = (1 - v) * ((1 - w) * values[i, j, k] + w * values[i, j, k + 1]) + v * (
        (1 - w) * values[i, j + 1, k] + w * values[i, j + 1, k + 1]
    )
    return (1 - u) * low + u * high + step * np.sqrt(extra)


@njit(cache=True)
def sample_all(
    values: NDArray, origin: NDArray, step: float, points: NDArray
) -> NDArray[np.float64]:
    """Trilinear values (P,) at points (P, 3)."""
    out = np.empty(len(points))
    for i in range(len(points)):
        out[i] = sample(values, origin, step, points[i])
    return out


def gradient(grid: Grid, points: NDArray) -> NDArray[np.float64]:
    """Unit outward direction (P, 3) by central differences of one grid step."""
    out = np.empty((len(points), 3))
    for k in range(3):
        shift = np.zeros(3)
        shift[k] = grid.step
        ahead = sample_all(grid.values, grid.origin, grid.step, points + shift)
        out[:, k] = ahead - sample_all(grid.values, grid.origin, grid.step, points - shift)
    return out / np.maximum(np.linalg.norm(out, axis=1, keepdims=True), 1e-12)


@njit(cache=True)
def distances(points: NDArray, verts: NDArray, faces: NDArray) -> NDArray[np.float64]:
    """Unsigned distance (P,) from points to a mesh, over all triangles.

    A triangle is passed over when its first corner is too far for any of it to be nearer.
    """
    reach = np.empty(len(faces))
    for f in range(len(faces)):
        a, b, c = verts[faces[f, 0]], verts[faces[f, 1]], verts[faces[f, 2]]
        reach[f] = np.sqrt(max(((b - a) ** 2).sum(), ((c - a) ** 2).sum()))
    out = np.full(len(points), np.inf)
    for i in range(len(points)):
        best = np.inf
        for f in range(len(faces)):
            a = verts[faces[f, 0]]
            dx, dy, dz = points[i, 0] - a[0], points[i, 1] - a[1], points[i, 2] - a[2]
            if dx * dx + dy * dy + dz * dz <= (best + reach[f]) ** 2:
                b, c = verts[faces[f, 1]], verts[faces[f, 2]]
                best = min(best, np.sqrt(point_triangle(points[i], a, b, c)))
        out[i] = best
    return out


@njit(cache=True, fastmath=True)
def winding(points: NDArray, verts: NDArray, faces: NDArray) -> NDArray[np.float64]:
    """Generalised winding number (P,) of a closed mesh (van Oosterom and Strackee 1983).

    For a vertex of the mesh itself its own sheet counts about one half.
    """
    out = np.empty(len(points))
    for i in range(len(points)):
        x, y, z = points[i]
        total = 0.0
        for f in range(len(faces)):
            v, w, u = verts[faces[f, 0]], verts[faces[f, 1]], verts[faces[f, 2]]
            ax, ay, az = v[0] - x, v[1] - y, v[2] - z
            bx, by, bz = w[0] - x, w[1] - y, w[2] - z
            cx, cy, cz = u[0] - x, u[1] - y, u[2] - z
            la = np.sqrt(ax * ax + ay * ay + az * az)
            lb = np.sqrt(bx * bx + by * by + bz * bz)
            lc = np.sqrt(cx * cx + cy * cy + cz * cz)
            volume = ax * (by * cz - bz * cy) - ay * (bx * cz - bz * cx) + az * (bx * cy - by * cx)
            flat = (
                la * lb * lc
                + (ax * bx + ay * by + az * bz) * lc
                + (bx * cx + by * cy + bz * cz) * la
                + (cx * ax + cy * ay + cz * az) * lb
            )
            total += np.arctan2(volume, flat)
        out[i] = total / (2 * np.pi)
    return out
