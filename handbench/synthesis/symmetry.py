"""Made objects as their errors are measured: hull points and symmetries by an object's name."""

import numpy as np

from handbench.scoring.mssd import Shape, about, shape, symmetries
from handbench.synthesis.objects import make

AXES = {"x": (1.0, 0.0, 0.0), "y": (0.0, 1.0, 0.0), "z": (0.0, 0.0, 1.0)}
ORIGIN = (0.0, 0.0, 0.0)
MIRRORED = "_mirrored"


def object_shape(name: str) -> Shape:
    """The Shape of an object as the columns name it: kind, seed, maybe _mirrored.

    A ball, round about every axis, is its centre: all its poses at one place look alike.
    """
    kind, _, seed = name.removesuffix(MIRRORED).rpartition("_")
    mesh = make(kind, int(seed))
    turning = [AXES[axis] for axis, fold in mesh.symmetries if fold == 0]
    if len(turning) == 3:
        return Shape(np.zeros((1, 3)), np.eye(4)[None], mesh.diameter_m)
    fixed = [np.eye(4)]
    for axis, fold in mesh.symmetries:
        turns = [about(AXES[axis], ORIGIN, 360.0 * k / fold) for k in range(fold)]
        fixed = [turn @ each for each in fixed for turn in turns or [np.eye(4)]]
    unique = [each for k, each in enumerate(fixed) if not _any_close(each, fixed[:k])]
    found = symmetries(unique[1:], [(axis, ORIGIN) for axis in turning])
    flip = np.array([-1.0 if name.endswith(MIRRORED) else 1.0, 1.0, 1.0])
    return shape(mesh.verts_m * flip, found)


def _any_close(transform: np.ndarray, others: list[np.ndarray]) -> bool:
    return any(np.allclose(transform, other) for other in others)
