"""The committed library of grasps (assets/grasps.npz, written by tools/build_grasps.py)."""

from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from handbench.errors import UnknownName

SPLITS = ("train", "val", "test")
KINDS = ("power", "precision", "tripod", "lateral", "hook", "cradle")


@dataclass(frozen=True, eq=False)
class LibraryGrasp:
    """A right hand holding an object.

    Hand frame: zero global rotation, wrist joint at the origin, that is `Hand.pose` output minus
    its joint 0. T_hand_object (4, 4) brings `objects.make(object_name, object_seed)`
    into it (metres). Poses (48,) are axis-angle, mean included, first three zero: pose holds,
    pose_open has not yet closed, pose_alt holds with one or two fingers lifted. approach (3,):
    unit direction in which the object leaves the open hand. contact (6,): palm, thumb … little
    touch the object. nearest_train_mm: mean joint distance to the nearest grasp of train (its own
    nearest neighbour for a grasp of train), for one hand shape, wrist and orientation aligned.
    """

    split: str
    kind: str
    object_name: str
    object_seed: int
    shape: NDArray[np.float64]
    pose: NDArray[np.float64]
    pose_open: NDArray[np.float64]
    pose_alt: NDArray[np.float64]
    T_hand_object: NDArray[np.float64]
    approach: NDArray[np.float64]
    contact: NDArray[np.bool_]
    penetration_mm: float
    self_intersections: int
    nearest_train_mm: float


def library_path() -> Path:
    return Path(str(resources.files("handbench.assets") / "grasps.npz"))


@lru_cache(maxsize=1)
def load_arrays() -> dict[str, NDArray]:
    """The file's columns, one row a grasp; split, kind and object are numbers into the names."""
    with np.load(library_path(), allow_pickle=False) as data:
        return {name: data[name] for name in data.files}


@lru_cache(maxsize=3)
def load_grasps(split: str) -> tuple[LibraryGrasp, ...]:
    """All grasps of "train", "val" or "test", in the file's order. Raises UnknownName."""
    if split not in SPLITS:
        raise UnknownName("split of the grasp library", split, SPLITS)
    data = load_arrays()
    return tuple(
        LibraryGrasp(
            split=split,
            kind=KINDS[data["kind"][row]],
            object_name=str(data["object_names"][data["object"][row]]),
            object_seed=int(data["object_seed"][row]),
            **{
                name: data[name][row].astype(np.float64)
                for name in ("shape", "pose", "pose_open", "pose_alt", "T_hand_object", "approach")
            },
            contact=data["contact"][row],
            penetration_mm=float(data["penetration_mm"][row]),
            self_intersections=int(data["self_intersections"][row]),
            nearest_train_mm=float(data["nearest_train_mm"][row]),
        )
        for row in np.flatnonzero(data["split"] == SPLITS.index(split))
    )
