"""Mesh simplification by edge collapse that keeps vertices where they are."""

import heapq

import numpy as np
from numpy.typing import NDArray

from handbench.errors import DataError


def decimate(
    verts: NDArray[np.float64], faces: NDArray, count: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Keep `count` of the vertices (V,3); returns which (count,), rising, and the new faces.

    Edges collapse onto one of their ends, cheapest first: the cost is the end's summed squared
    distance to the planes of all faces merged into both ends (Garland and Heckbert 1997, with
    vertices kept as in CoMA and MobRecon). Costs depend on the origin by rounding alone, but equal
    costs are decided by it: do not re-centre verts when an exact hierarchy is wanted.
    Raises DataError when the mesh has no edge left to collapse.
    """
    quadric = quadrics(verts, faces)
    points = np.concatenate([verts, np.ones((len(verts), 1))], 1)
    corners = [list(map(int, face)) for face in faces]
    around: list[set[int]] = [set() for _ in verts]  # faces of each vertex
    for number, face in enumerate(corners):
        for v in face:
            around[v].add(number)
    merged = list(range(len(verts)))  # vertex -> the one it was merged into

    def costs(r: int, c: int) -> tuple[float, float]:
        both = quadric[r] + quadric[c]
        return float(points[r] @ both @ points[r]), float(points[c] @ both @ points[c])

    pairs = np.sort(np.concatenate([faces[:, :2], faces[:, 1:], faces[:, ::2]]), axis=1)
    queue = [(min(costs(r, c)), (r, c)) for r, c in np.unique(pairs, axis=0).tolist()]
    heapq.heapify(queue)
    left = len(np.unique(faces))
    while left > count:
        if not queue:
            raise DataError(f"the mesh cannot be reduced to {count} vertices: no edge is left")
        stored, (r, c) = heapq.heappop(queue)
        r, c = _root(merged, r), _root(merged, c)
        if r == c:
            continue
        keep_r, keep_c = costs(r, c)
        if min(keep_r, keep_c) > stored:  # a neighbour was merged since: try again later
            heapq.heappush(queue, (min(keep_r, keep_c), (r, c)))
            continue
        kept, gone = (r, c) if keep_r < keep_c else (c, r)
        merged[gone] = kept
        quadric[kept] = quadric[r] + quadric[c]
        left -= _move_faces(corners, around, kept, gone)
    keep = np.array([v for v, faces_of in enumerate(around) if faces_of])
    renumbered = np.full(len(verts), -1)
    renumbered[keep] = np.arange(len(keep))
    return keep, renumbered[np.array([face for face in corners if face])]


def quadrics(verts: NDArray[np.float64], faces: NDArray) -> NDArray[np.float64]:
    """Sum (V,4,4) over a vertex's faces of n nᵀ, n = (a,b,c,d) the plane with abc a unit normal."""
    corners = np.concatenate([verts[faces], np.ones((len(faces), 3, 1))], 2)
    plane = np.linalg.svd(corners)[2][:, -1]
    plane /= np.linalg.norm(plane[:, :3], axis=1, keepdims=True)
    outer = plane[:, :, None] * plane[:, None]
    total = np.zeros((len(verts), 4, 4))
    for corner in range(3):
        np.add.at(total, faces[:, corner], outer)
    return total


def _root(merged: list[int], vertex: int) -> int:
    while merged[vertex] != vertex:
        merged[vertex] = merged[merged[vertex]]
        vertex = merged[vertex]
    return vertex


def _move_faces(corners: list[list[int]], around: list[set[int]], kept: int, gone: int) -> int:
    """Hand the faces of a merged vertex on, drop those that lose their area.

    Returns how many fewer vertices have a face than before.
    """
    moved = around[gone]
    concerned = {kept, gone}.union(*(corners[number] for number in moved))
    before = sum(1 for v in concerned if around[v])
    around[gone] = set()
    for number in moved:
        face = [kept if v == gone else v for v in corners[number]]
        if len(set(face)) == 3:
            corners[number] = face
            around[kept].add(number)
            continue
        corners[number] = []
        for v in face:
            around[v].discard(number)
    return before - sum(1 for v in concerned if around[v])
