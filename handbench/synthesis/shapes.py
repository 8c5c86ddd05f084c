"""Closed surfaces to build objects from: boxes, bodies of revolution, tubes.

Every function returns a watertight part (verts_m (V, 3), faces (F, 3) i4), faces counter-clockwise
seen from outside. Parts may overlap when they are joined: inside means winding number above 0.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Part = tuple[NDArray[np.float64], NDArray[np.int32]]


def _outward(verts: NDArray, faces: ArrayLike) -> Part:
    """Turns all faces round when the enclosed volume is negative."""
    faces = np.asarray(faces, np.int32)
    a, b, c = (verts[faces[:, k]] for k in range(3))
    if np.einsum("ij,ij->i", a, np.cross(b, c)).sum() < 0:
        faces = faces[:, ::-1]
    return verts, np.ascontiguousarray(faces)


def _rings(count: int, sides: int, closed: bool = False) -> NDArray[np.int32]:
    """Triangles between `count` rings of `sides` vertices each; closed joins last to first."""
    i, j = np.meshgrid(np.arange(count if closed else count - 1), np.arange(sides), indexing="ij")
    a, b = i * sides + j, i * sides + (j + 1) % sides
    c, d = (k % (count * sides) for k in (a + sides, b + sides))
    return np.stack([a, b, d, a, d, c], -1).reshape(-1, 3).astype(np.int32)


def _caps(count: int, sides: int) -> list[list[int]]:
    """Fans to two pole vertices that stand after the rings."""
    first, last = count * sides, count * sides + 1
    top = (count - 1) * sides
    faces = []
    for j in range(sides):
        k = (j + 1) % sides
        faces += [[k, j, first], [top + j, top + k, last]]
    return faces


def revolve(
    profile: Sequence[tuple[float, float]],
    sides: int = 32,
    flat: float = 1.0,
    power: float = 2.0,
) -> Part:
    """Body of revolution about z.

    profile: (radius, z) m from the bottom pole to the top pole; both poles have radius 0.
    flat scales y; power above 2 makes the cross-section squarish (superellipse).
    """
    points = np.asarray(profile, float)
    angle = np.arange(sides) * 2 * np.pi / sides
    c, s = np.cos(angle), np.sin(angle)
    reach = (np.abs(c) ** power + np.abs(s) ** power) ** (-1 / power)
    rings = points[1:-1]
    verts = np.empty((len(rings), sides, 3))
    verts[..., 0] = rings[:, :1] * reach * c
    verts[..., 1] = rings[:, :1] * reach * s * flat
    verts[..., 2] = rings[:, 1:]
    poles = np.array([[0, 0, points[0, 1]], [0, 0, points[-1, 1]]])
    faces = np.concatenate([_rings(len(rings), sides), _caps(len(rings), sides)])
    return _outward(np.concatenate([verts.reshape(-1, 3), poles]), faces)


def box(
    size: tuple[float, float, float],
    rounding: float = 0.002,
    cuts: tuple[ArrayLike, ArrayLike, ArrayLike] = ((), (), ()),
) -> Part:
    """Box about the origin with rounded edges; cuts: extra mesh lines per axis in -1..1."""
    half = np.asarray(size) / 2
    core = half - rounding
    lines = []
    for axis in range(3):
        inner = np.sort(np.concatenate([[-1.0, 1.0], np.asarray(cuts[axis], float)])) * core[axis]
        lines.append(np.concatenate([[-half[axis]], inner, [half[axis]]]))
    verts, faces, start = [], [], 0
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        grid = np.stack(np.meshgrid(lines[u], lines[v], indexing="ij"), -1)
        rows, columns = grid.shape[:2]
        i, j = np.meshgrid(np.arange(rows - 1), np.arange(columns - 1), indexing="ij")
        a = i * columns + j
        quad = np.stack([a, a + columns, a + columns + 1, a, a + columns + 1, a + 1], -1)
        for sign in (-1, 1):
            p = np.empty((rows, columns, 3))
            p[..., axis], p[..., u], p[..., v] = sign * half[axis], grid[..., 0], grid[..., 1]
            verts.append(p.reshape(-1, 3))
            faces.append(quad.reshape(-1, 3)[:, ::sign] + start)
            start += rows * columns
    points = np.concatenate(verts)
    inner = np.clip(points, -core, core)
    away = points - inner
    points = inner + away * rounding / np.linalg.norm(away, axis=1, keepdims=True)
    _, first, back = np.unique(points.round(8), axis=0, return_index=True, return_inverse=True)
    return _outward(points[first], back.reshape(-1)[np.concatenate(faces)])


def tube(
    path: ArrayLike,
    radius: ArrayLike,
    sides: int = 12,
    flat: float = 1.0,
    closed: bool = False,
    side: tuple[float, float, float] = (0.0, 1.0, 0.0),
) -> Part:
    """Tube along path (n, 3) with one radius or n of them; flat scales it along `side`.

    `side` is a direction that the path does not take. closed joins the ends to a ring;
    else flat caps close it.
    """
    points = np.asarray(path, float)
    count = len(points)
    radius = np.broadcast_to(radius, (count,))
    if closed:
        tangent = np.roll(points, -1, 0) - np.roll(points, 1, 0)
    else:
        tangent = np.gradient(points, axis=0)
    across = np.cross(tangent, side)
    across /= np.linalg.norm(across, axis=1, keepdims=True)
    up = np.cross(across, tangent)
    up /= np.linalg.norm(up, axis=1, keepdims=True)
    angle = np.arange(sides) * 2 * np.pi / sides
    circle = np.cos(angle)[:, None] * across[:, None] + flat * np.sin(angle)[:, None] * up[:, None]
    verts = (points[:, None] + radius[:, None, None] * circle).reshape(-1, 3)
    if closed:
        return _outward(verts, _rings(count, sides, closed=True))
    faces = np.concatenate([_rings(count, sides), _caps(count, sides)])
    return _outward(np.concatenate([verts, points[[0, -1]]]), faces)


def ellipsoid(radii: tuple[float, float, float], sides: int = 20, rings: int = 10) -> Part:
    angle = np.linspace(-np.pi / 2, np.pi / 2, rings + 2)
    verts, faces = revolve(list(zip(np.cos(angle), np.sin(angle))), sides)
    return verts * np.asarray(radii), faces


def move(part: Part, shift: ArrayLike = (0, 0, 0), turn: ArrayLike | None = None) -> Part:
    """Part turned by the matrix (3, 3) and then shifted."""
    verts = part[0] if turn is None else part[0] @ np.asarray(turn).T
    return verts + np.asarray(shift, float), part[1]


def bend(part: Part, change: Callable[[NDArray], NDArray]) -> Part:
    """Part with its vertices sent through `change`; the faces stay outward."""
    return _outward(change(part[0].copy()), part[1])


def turn_about(axis: str, degrees: float) -> NDArray[np.float64]:
    """Rotation matrix about one of the coordinate axes."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    i = "xyz".index(axis)
    u, v = (i + 1) % 3, (i + 2) % 3
    matrix = np.eye(3)
    matrix[u, u], matrix[u, v], matrix[v, u], matrix[v, v] = c, -s, s, c
    return matrix


def arc(
    centre: tuple[float, float], radii: tuple[float, float], start: float, end: float, count: int
) -> NDArray[np.float64]:
    """Points of an elliptic arc in the xz plane, degrees from +x towards +z."""
    t = np.radians(np.linspace(start, end, count))
    x = centre[0] + radii[0] * np.cos(t)
    return np.stack([x, np.zeros(count), centre[1] + radii[1] * np.sin(t)], 1)
