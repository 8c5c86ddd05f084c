"""Which hands hold their object: judged by whether the object has left the place it started at."""

import numpy as np
from numpy.typing import NDArray

from handbench.store import Split

MOVED_M = 0.01
TURNED_DEG = 5.0
GROUPS = {"hand-only": 0, "hand-object": 1}  # what `held` is called in results


def held(split: Split) -> NDArray[np.int8]:
    """(M,) for each hand: 1 the object is held, 0 it rests, -1 unknown.

    An object is held from the moment on at which it stands 10 mm or 5 degrees away from where it
    stood in the sequence's first image, in the world. A hand that touches an object without moving
    it counts as hand-only, and a dropped object as held. Unknown without poses of object and
    camera in the world, or where the sequence's first image is not in the split.
    """
    row = split.hands.row
    if not {"object/T_camera", "T_world_camera"} <= set(split.columns):
        return np.full(len(row), -1, np.int8)
    world = split.columns["T_world_camera"].astype(np.float64)
    camera = split.columns["object/T_camera"].astype(np.float64)
    known = np.asarray(np.isfinite(world).all((1, 2)) & np.isfinite(camera).all((1, 2)))
    found = np.full(len(split), -1, np.int8)
    pose = np.full(camera.shape, np.nan)
    pose[known] = np.linalg.inv(world[known]) @ camera[known]
    first = _first_rows(split)
    chosen = np.flatnonzero(known & (first >= 0))
    chosen = chosen[known[first[chosen]]]
    now, start = pose[chosen], pose[first[chosen]]
    moved = np.linalg.norm(now[:, :3, 3] - start[:, :3, 3], axis=1)
    trace = np.einsum("nij,nij->n", now[:, :3, :3], start[:, :3, :3])
    turned = np.degrees(np.arccos(np.clip((trace - 1) / 2, -1, 1)))
    found[chosen] = (moved > MOVED_M) | (turned > TURNED_DEG)
    return found[row]


def _first_rows(split: Split) -> NDArray[np.int64]:
    """Row of the first image of each row's sequence, camera and object; -1 if it is not there."""
    names = ("sequence", "camera", "object/name")
    keys = np.stack([np.asarray(split.columns[name]) for name in names], axis=1)
    order = np.asarray(split.columns["order"])
    _, group = np.unique(keys, axis=0, return_inverse=True)
    first = np.full(int(group.max()) + 1, -1, np.int64)
    start = np.flatnonzero(order == 0)
    first[group[start]] = start
    return first[group]
