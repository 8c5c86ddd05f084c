"""From a coarse mesh back to the fine one: three coarse vertices and weights a fine vertex."""

import numpy as np
from numpy.typing import NDArray

FORMS = ("barycentric", "authors")
TIE = 1e-12  # metres: faces this near to equal are one distance, the first one counts


def upsample(
    fine: NDArray[np.float64], coarse: NDArray[np.float64], faces: NDArray, form: str
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Coarse vertices (N,3) and weights (N,3) for each fine vertex, from its nearest face.

    barycentric: weights of the closest point, at least 0, sum 1. authors: MobRecon's and
    H2ONet's own form, which their weights need. Inside a face it solves [v1 v2 v3] w = closest
    point without asking for a sum of 1, so it depends on where the origin lies; on an edge it
    fits the fine vertex itself by the edge's two ends; at a vertex it is that vertex.
    """
    face, weight = closest(fine, coarse, faces)
    index = faces[face].astype(np.int64)
    if form == "authors":
        weight = _unconstrained(fine, coarse[index], weight)
    return index, weight


def closest(
    points: NDArray[np.float64], verts: NDArray[np.float64], faces: NDArray
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Nearest face (N,) of each point and its closest point's barycentric weights (N,3).

    Weights are exactly 0 where the closest point lies on an edge or a vertex. Brute force:
    the meshes here have at most a few hundred faces.
    """
    a, b, c = (verts[faces[:, k]] for k in range(3))
    chosen, weights = [], []
    for part in np.array_split(points, max(1, len(points) * len(faces) // 100_000)):
        weight = barycentric(part[:, None], a, b, c)
        nearest = np.einsum("nfk,kfd->nfd", weight, np.stack([a, b, c]))
        distance = np.linalg.norm(part[:, None] - nearest, axis=-1)
        face = (distance <= distance.min(1, keepdims=True) + TIE).argmax(1)
        chosen.append(face)
        weights.append(weight[np.arange(len(part)), face])
    return np.concatenate(chosen), np.concatenate(weights)


def barycentric(p: NDArray, a: NDArray, b: NDArray, c: NDArray) -> NDArray[np.float64]:
    """Weights (…,3) of the point of triangle a, b, c that is closest to p (all (…,3)).

    By the regions of Ericson, Real-Time Collision Detection, section 5.1.5.
    """
    ab, ac = b - a, c - a
    d1, d2 = _dot(ab, p - a), _dot(ac, p - a)
    d3, d4 = _dot(ab, p - b), _dot(ac, p - b)
    d5, d6 = _dot(ab, p - c), _dot(ac, p - c)
    va, vb, vc = d3 * d6 - d5 * d4, d5 * d2 - d1 * d6, d1 * d4 - d3 * d2
    zero, one = np.zeros_like(d1), np.ones_like(d1)
    with np.errstate(divide="ignore", invalid="ignore"):
        on_ab, on_ac = d1 / (d1 - d3), d2 / (d2 - d6)
        on_bc = (d4 - d3) / ((d4 - d3) + (d5 - d6))
        total = va + vb + vc
        inside = (va / total, vb / total, vc / total)
    regions = [
        ((d1 <= 0) & (d2 <= 0), (one, zero, zero)),
        ((d3 >= 0) & (d4 <= d3), (zero, one, zero)),
        ((d6 >= 0) & (d5 <= d6), (zero, zero, one)),
        ((vc <= 0) & (d1 >= 0) & (d3 <= 0), (1 - on_ab, on_ab, zero)),
        ((vb <= 0) & (d2 >= 0) & (d6 <= 0), (1 - on_ac, zero, on_ac)),
        ((va <= 0) & (d4 >= d3) & (d5 >= d6), (zero, 1 - on_bc, on_bc)),
    ]
    tests = [test for test, _ in regions]
    return np.stack([np.select(tests, [w[k] for _, w in regions], inside[k]) for k in range(3)], -1)


def _unconstrained(fine: NDArray, corners: NDArray, weight: NDArray) -> NDArray[np.float64]:
    """The authors' weights (N,3) for corners (N,3 vertices,3) and barycentric weights (N,3)."""
    result = weight.copy()
    used = weight > 0
    for row in np.nonzero(used.sum(1) > 1)[0]:
        on = used[row]
        target = weight[row] @ corners[row] if on.all() else fine[row]
        result[row, on] = np.linalg.lstsq(corners[row][on].T, target, rcond=None)[0]
    return result


def _dot(x: NDArray, y: NDArray) -> NDArray:
    return (x * y).sum(-1)
