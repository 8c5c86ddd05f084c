"""Z-buffer of triangles on the CPU: which face each pixel shows, how far, and where on the face.

A pixel's ray and a triangle are compared in homogeneous pixel coordinates h = K v (Olano and
Greer 1997): the ray p = (x, y, 1) passes inside edge ab when (h_a x h_b) . p > 0, and the inverse
depth is the sum of the three such products over det(h_a, h_b, h_c). This is ray casting through
pixel centres, so triangles that reach behind the camera need no clipping. All in float64 without
fused operations: the two triangles at an edge compute values that are exact negatives, which
leaves neither gaps nor overlaps.
"""

from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import NDArray

from handbench.errors import DataError, ShapeError

NEAR_M = 1e-3
TINY = 5e-324  # the smallest positive float64: e >= TINY means e > 0
SLACK = 1e-6  # px by which bounding boxes are widened against rounding
FLAT = 1e-6  # edges flatter than this are not divided by

Window = tuple[int, int, int, int]


@dataclass(frozen=True)
class Buffers:
    """Pictures of one window: face_id (h,w) i4, -1 none; depth_m (h,w) f4, inf none;
    weights (h,w,3) f4, perspective-correct barycentric, 0 where there is no face."""

    face_id: NDArray[np.int32]
    depth_m: NDArray[np.float32]
    weights: NDArray[np.float32]

    @classmethod
    def empty(cls, width: int, height: int) -> "Buffers":
        """Arrays to hand to `buffers(out=...)` again and again."""
        return cls(
            np.empty((height, width), np.int32),
            np.empty((height, width), np.float32),
            np.empty((height, width, 3), np.float32),
        )


def face_ids(
    verts_m: NDArray,
    faces: NDArray,
    K: NDArray,
    size: tuple[int, int],
    window: Window | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
    """Draw a mesh: the nearest face at each pixel centre and its depth.

    verts_m (V,3) m, OpenCV camera frame; faces (F,3), both sides are drawn; K (3,3) px without
    distortion; size (w,h); window (x0,y0,x1,y1) half-open, may reach outside the image, default
    the image. Pixel centres are integers. A centre exactly on an edge belongs to the face on its
    right, or below for a horizontal edge; equal depths go to the lower face number. Nothing nearer
    than NEAR_M is drawn. Returns face_id (h,w) i4, -1 none, and depth_m (h,w) f4, inf none.
    Raises ShapeError and DataError (not finite).
    """
    points, pixels = project(verts_m, K)
    face_id, inverse = draw(points, pixels, as_faces(faces, len(points)), window or (0, 0, *size))
    depth_m = np.full(face_id.shape, np.inf, np.float32)
    np.divide(1.0, inverse, out=depth_m, where=face_id >= 0, casting="same_kind")
    return face_id, depth_m


def buffers(
    verts_m: NDArray,
    faces: NDArray,
    K: NDArray,
    size: tuple[int, int],
    window: Window | None = None,
    out: Buffers | None = None,
) -> Buffers:
    """Draw a mesh for deferred shading: face, depth and barycentric weights of each pixel.

    Arguments as in `face_ids`; out: arrays of the window's size to fill, new ones by default. An
    attribute a (V,C) of the vertices is `(weights[..., None] * a[faces[face_id]]).sum(-2)`.
    """
    window = window or (0, 0, *size)
    out = out or Buffers.empty(window[2] - window[0], window[3] - window[1])
    points, pixels = project(verts_m, K)
    faces = as_faces(faces, len(points))
    face_id, inverse = draw(points, pixels, faces, window, out.face_id)
    _interpolate(points, faces, window[0], window[1], face_id, inverse, out.depth_m, out.weights)
    return out


def project(verts_m: NDArray, K: NDArray) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Homogeneous pixel coordinates (V,3), the third is the depth, and pixels (V,2).

    Pixels of vertices nearer than NEAR_M, or behind the camera, are NaN.
    """
    verts = np.ascontiguousarray(verts_m, np.float64)
    if verts.ndim != 2 or verts.shape[1] != 3:
        raise ShapeError(f"vertices are (V,3), got {verts.shape}")
    points, pixels = np.empty_like(verts), np.empty((len(verts), 2))
    if not _project(verts, np.ascontiguousarray(K, np.float64), points, pixels):
        raise DataError("a mesh to draw has vertices that are not finite")
    return points, pixels


@njit(cache=True, error_model="numpy")
def _project(verts, K, points, pixels):
    """Fill points and pixels; whether all vertices are finite."""
    for v in range(len(verts)):
        x, y, z = verts[v, 0], verts[v, 1], verts[v, 2]
        if not np.isfinite(x + y + z):
            return False
        points[v, 0] = K[0, 0] * x + K[0, 1] * y + K[0, 2] * z
        points[v, 1] = K[1, 1] * y + K[1, 2] * z
        points[v, 2] = z
        seen = z >= NEAR_M
        pixels[v, 0] = points[v, 0] / z if seen else np.nan
        pixels[v, 1] = points[v, 1] / z if seen else np.nan
    return True


def as_faces(faces: NDArray, vertices: int) -> NDArray[np.int32]:
    """Faces as contiguous (F,3) i4; raises ShapeError when one names a vertex that is not there."""
    faces = np.ascontiguousarray(faces, np.int32)
    if faces.ndim != 2 or faces.shape[1] != 3:
        raise ShapeError(f"faces are (F,3), got {faces.shape}")
    if faces.size and (faces.min() < 0 or faces.max() >= vertices):
        raise ShapeError(f"faces name vertices {faces.min()}..{faces.max()} of {vertices}")
    return faces


def draw(
    points: NDArray[np.float64],
    pixels: NDArray[np.float64],
    faces: NDArray[np.int32],
    window: Window,
    face_id: NDArray[np.int32] | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Draw what `project` and `as_faces` returned: face_id (h,w) and inverse depth (h,w), 1/m."""
    shape = max(0, window[3] - window[1]), max(0, window[2] - window[0])
    inverse = np.zeros(shape)
    if face_id is None:
        face_id = np.empty(shape, np.int32)
    elif face_id.shape != shape:
        raise ShapeError(f"the buffer is {face_id.shape}, the window {shape}")
    face_id.fill(-1)
    _draw(points, pixels, faces, window[0], window[1], face_id, inverse)
    return face_id, inverse


@njit(cache=True, error_model="numpy")
def edge_planes(points: NDArray, a: int, b: int, c: int) -> tuple[float, ...]:
    """Planes through the eye and the edges bc, ca, ab: 9 numbers, inside positive, and |det|."""
    ax, ay, az = points[a, 0], points[a, 1], points[a, 2]
    bx, by, bz = points[b, 0], points[b, 1], points[b, 2]
    cx, cy, cz = points[c, 0], points[c, 1], points[c, 2]
    p0, p1, p2 = by * cz - bz * cy, bz * cx - bx * cz, bx * cy - by * cx
    q0, q1, q2 = cy * az - cz * ay, cz * ax - cx * az, cx * ay - cy * ax
    r0, r1, r2 = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
    det = ax * p0 + ay * p1 + az * p2
    if det < 0.0:
        return -p0, -p1, -p2, -q0, -q1, -q2, -r0, -r1, -r2, -det
    return p0, p1, p2, q0, q1, q2, r0, r1, r2, det


@njit(cache=True, error_model="numpy")
def face_bounds(
    points: NDArray, pixels: NDArray, a: int, b: int, c: int
) -> tuple[float, float, float, float]:
    """Left, top, right, bottom of a face in px; infinite where it reaches behind the camera.

    A face wholly nearer than NEAR_M is never seen: its bounds are empty.
    """
    if min(points[a, 2], points[b, 2], points[c, 2]) < NEAR_M:
        far = np.inf if max(points[a, 2], points[b, 2], points[c, 2]) >= NEAR_M else -np.inf
        return -far, -far, far, far
    return (
        min(pixels[a, 0], pixels[b, 0], pixels[c, 0]) - SLACK,
        min(pixels[a, 1], pixels[b, 1], pixels[c, 1]) - SLACK,
        max(pixels[a, 0], pixels[b, 0], pixels[c, 0]) + SLACK,
        max(pixels[a, 1], pixels[b, 1], pixels[c, 1]) + SLACK,
    )


@njit(cache=True, error_model="numpy")
def _bound(px, py):
    """-1 / slope of an edge along rows; 0 where it is too flat to bound a row safely."""
    return 0.0 if abs(px) <= FLAT * abs(py) else -1.0 / px


@njit(cache=True, error_model="numpy")
def _narrow(bound, offset, first, last):
    """Cut the floats first..last on a row at one edge, SLACK outside of it."""
    if bound < 0.0:
        return max(first, min(bound * offset - SLACK, last + 1.0)), last
    if bound > 0.0:
        return first, min(last, max(bound * offset + SLACK, first - 1.0))
    return first, last


@njit(cache=True, error_model="numpy")
def _bias(px, py):
    """0 for an edge that owns the centres on it (left, or horizontal on top), else TINY."""
    return 0.0 if px > 0.0 or (px == 0.0 and py > 0.0) else TINY


@njit(cache=True, error_model="numpy")
def _draw(points, pixels, faces, x0, y0, face_id, inverse):
    """Fill face_id and inverse (greatest inverse depth so far) of the window at x0, y0."""
    height, width = face_id.shape
    nearest = 1.0 / NEAR_M
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        bounds = face_bounds(points, pixels, a, b, c)
        # limits are applied to the floats: a pixel far outside does not fit an integer
        left = int(np.ceil(min(max(bounds[0], x0), x0 + width)))
        top = int(np.ceil(min(max(bounds[1], y0), y0 + height)))
        right = int(np.floor(max(min(bounds[2], x0 + width - 1), x0 - 1)))
        bottom = int(np.floor(max(min(bounds[3], y0 + height - 1), y0 - 1)))
        if left > right or top > bottom:
            continue
        p0, p1, p2, q0, q1, q2, r0, r1, r2, det = edge_planes(points, a, b, c)
        if det == 0.0:
            continue
        p_bias, q_bias, r_bias = _bias(p0, p1), _bias(q0, q1), _bias(r0, r1)
        scale = 1.0 / det
        dx, dy, dc = (p0 + q0 + r0) * scale, (p1 + q1 + r1) * scale, (p2 + q2 + r2) * scale
        p_bound, q_bound, r_bound = _bound(p0, p1), _bound(q0, q1), _bound(r0, r1)
        for y in range(top, bottom + 1):
            p, q, r = p1 * y + p2, q1 * y + q2, r1 * y + r2
            start, end = _narrow(p_bound, p, float(left), float(right))
            start, end = _narrow(q_bound, q, start, end)
            start, end = _narrow(r_bound, r, start, end)
            first, last = int(np.ceil(start)), int(np.floor(end))
            # the quotients were rounded and widened; the products decide, at both ends of the row
            while first <= last and not (
                p0 * first + p >= p_bias and q0 * first + q >= q_bias and r0 * first + r >= r_bias
            ):
                first += 1
            while first <= last and not (
                p0 * last + p >= p_bias and q0 * last + q >= q_bias and r0 * last + r >= r_bias
            ):
                last -= 1
            row = dy * y + dc
            for x in range(first, last + 1):
                z = dx * x + row
                if inverse[y - y0, x - x0] < z <= nearest:
                    inverse[y - y0, x - x0] = z
                    face_id[y - y0, x - x0] = f


@njit(cache=True, error_model="numpy")
def _interpolate(points, faces, x0, y0, face_id, inverse, depth_m, weights):
    """Depth and barycentric weights of the faces drawn."""
    for i in range(face_id.shape[0]):
        for j in range(face_id.shape[1]):
            f = face_id[i, j]
            if f < 0:
                depth_m[i, j] = np.inf
                weights[i, j, :] = 0.0
                continue
            x, y = x0 + j, y0 + i
            p0, p1, p2, q0, q1, q2, r0, r1, r2, _ = edge_planes(
                points, faces[f, 0], faces[f, 1], faces[f, 2]
            )
            u, v, w = p0 * x + p1 * y + p2, q0 * x + q1 * y + q2, r0 * x + r1 * y + r2
            total = 1.0 / (u + v + w)
            depth_m[i, j] = 1.0 / inverse[i, j]
            weights[i, j, 0], weights[i, j, 1], weights[i, j, 2] = u * total, v * total, w * total
