"""Facts of a triangle mesh that follow from its faces alone."""

import numpy as np
from numpy.typing import NDArray


def boundary_loop(faces: NDArray) -> NDArray:
    """The open edge of a mesh as one loop of vertices; empty when there is not exactly one.

    Ordered so that triangles (loop[i - 1], loop[i], centre) close the mesh facing outwards.
    """
    edges = {(int(f[i]), int(f[i - 2])) for f in faces for i in range(3)}
    after = {b: a for a, b in edges if (b, a) not in edges}
    if not after:
        return np.empty(0, np.int64)
    loop = [min(after)]
    while (following := after.get(loop[-1])) is not None and following not in loop:
        loop.append(following)
    return np.array(loop if len(loop) == len(after) else [], np.int64)


def face_parts(parts: NDArray) -> NDArray:
    """Part of each face: that of two of its vertices, else of its second one."""
    first = (parts[:, 0] == parts[:, 1]) | (parts[:, 0] == parts[:, 2])
    return np.where(first, parts[:, 0], parts[:, 1])
