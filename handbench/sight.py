"""Lines of sight: which vertices do triangles hide from the camera, by exact ray casting."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

from handbench.raster import NEAR_M, edge_planes, face_bounds

SAME_SURFACE = 1e-6  # of the depth: a face not nearer by this much touches, it does not hide


@njit(cache=True, error_model="numpy")
def hide(points: NDArray, pixels: NDArray, faces: NDArray, targets: NDArray) -> NDArray[np.bool_]:
    """For each target vertex: does a face other than its own cross its line of sight?

    points (V,3), pixels (V,2) and faces (F,3) as `raster.project` and `raster.as_faces` return
    them; targets (T,) i8 vertices in front of the camera. A face hides a vertex when the ray
    through the vertex meets the face, edges included, between NEAR_M and the vertex. Returns (T,)
    bool. Targets are sorted into cells of the image: a face meets only those near its outline.
    """
    count = len(targets)
    hidden = np.zeros(count, np.bool_)
    if count == 0:
        return hidden
    x0, y0, side, columns, rows, start, order = _sort_into_cells(pixels, targets)
    for f in range(faces.shape[0]):
        a, b, c = faces[f, 0], faces[f, 1], faces[f, 2]
        left, top, right, bottom = face_bounds(points, pixels, a, b, c)
        first = int(min(max((left - x0) / side, 0.0), columns))
        last = int(min(max((right - x0) / side, -1.0), columns - 1.0))
        low = int(min(max((top - y0) / side, 0.0), rows))
        high = int(min(max((bottom - y0) / side, -1.0), rows - 1.0))
        if first > last or low > high:
            continue
        p0, p1, p2, q0, q1, q2, r0, r1, r2, det = edge_planes(points, a, b, c)
        if det == 0.0:
            continue
        nearest = det / NEAR_M
        for row in range(low, high + 1):
            for k in range(start[row * columns + first], start[row * columns + last + 1]):
                i = order[k]
                v = targets[i]
                if hidden[i] or v in (a, b, c):
                    continue
                x, y = pixels[v, 0], pixels[v, 1]
                p, q, r = p0 * x + p1 * y + p2, q0 * x + q1 * y + q2, r0 * x + r1 * y + r2
                if p < 0.0 or q < 0.0 or r < 0.0:
                    continue
                # inverse depth of the face is (p + q + r) / det
                nearer = (p + q + r) * points[v, 2] > det * (1.0 + SAME_SURFACE)
                hidden[i] = nearer and p + q + r <= nearest
    return hidden


@njit(cache=True, error_model="numpy")
def _sort_into_cells(pixels, targets):
    """A grid of about two cells a target; order[start[cell] : start[cell + 1]] lie in a cell.

    Returns its corner x0, y0, the side of a cell in px, columns, rows, start and order.
    """
    x0 = y0 = np.inf
    x1 = y1 = -np.inf
    for v in targets:
        x0, x1 = min(x0, pixels[v, 0]), max(x1, pixels[v, 0])
        y0, y1 = min(y0, pixels[v, 1]), max(y1, pixels[v, 1])
    side = np.sqrt(max((x1 - x0) * (y1 - y0), 1.0) / (2 * len(targets)))
    side = max(side, (x1 - x0 + y1 - y0) / (4 * len(targets)))  # targets in a line
    columns, rows = int((x1 - x0) / side) + 1, int((y1 - y0) / side) + 1
    cell = np.empty(len(targets), np.int64)
    start = np.zeros(columns * rows + 1, np.int64)
    for i, v in enumerate(targets):
        column = int((pixels[v, 0] - x0) / side)
        cell[i] = int((pixels[v, 1] - y0) / side) * columns + column
        start[cell[i] + 1] += 1
    start = np.cumsum(start)
    filled = start.copy()
    order = np.empty(len(targets), np.int64)
    for i in range(len(targets)):
        order[filled[cell[i]]] = i
        filled[cell[i]] += 1
    return x0, y0, side, columns, rows, start, order
