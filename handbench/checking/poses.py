"""Hands without their place and turn: how the palm is turned, and how near two poses are."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from handbench.hand import Hand
from handbench.scoring.align import kabsch

PALM = np.array([0, 5, 9, 13, 17])  # wrist and the four fingers' first joints
REACH = 2.0  # a neighbour's root mean square distance may be so many times the threshold


def palm_rotation(joints_m: NDArray) -> NDArray[np.float64]:
    """How hands are turned, (N,3,3): rotation from the resting open hand's palm onto theirs.

    joints_m (N,21,3) of right hands (left ones mirrored), all known. Kabsch over wrist and the four
    fingers' first joints, so it needs no hand model and is the same for every data set.
    """
    rest = Hand.open().pose(np.zeros((1, 48)), np.zeros((1, 10)))[1][0, PALM]
    return kabsch(np.broadcast_to(rest, (len(joints_m), *rest.shape)), joints_m[:, PALM])


def unturned(joints_m: NDArray) -> NDArray[np.float64]:
    """Joints (N,21,3) relative to the wrist, turned so that all palms face alike; size is kept."""
    return (joints_m - joints_m[:, :1]) @ palm_rotation(joints_m)


def nearest_pose_mm(
    asked: NDArray, known: NDArray, threshold_mm: float
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Mean joint distance (N,) mm of each pose to its nearest known one, and that one's row.

    asked (N,21,3), known (K,21,3) m, both from `unturned`. The nearest one is that of least root
    mean square distance, looked for up to twice the threshold; beyond it is inf and row -1. Main
    axes first, so that the tree divides where poses differ.
    """
    points = known.reshape(len(known), -1)
    centre = points.mean(0)
    axes = np.linalg.svd(np.cov((points - centre).T))[0] if len(points) > 1 else np.eye(63)
    reach = REACH * threshold_mm / 1000 * np.sqrt(asked.shape[1])
    tree = KDTree((points - centre) @ axes)
    found = tree.query((asked.reshape(len(asked), -1) - centre) @ axes, distance_upper_bound=reach)[
        1
    ]
    there = found < len(known)
    distance = np.full(len(asked), np.inf)
    apart = asked[there] - known[found[there]]
    distance[there] = 1000 * np.linalg.norm(apart, axis=-1).mean(1)
    return distance, np.where(there, found, -1)


def nearest_turn_deg(asked: NDArray, known: NDArray) -> NDArray[np.float64]:
    """Angle (N,) from each rotation (N,3,3) to the nearest known one (K,3,3), degrees.

    Unit quaternions q and -q are one rotation, so both stand in the tree; their distance apart is
    2 sin(angle / 4).
    """
    from scipy.spatial.transform import Rotation

    given = Rotation.from_matrix(known).as_quat()
    tree = KDTree(np.concatenate([given, -given]))
    chord = tree.query(Rotation.from_matrix(asked).as_quat())[0]
    return np.degrees(4 * np.arcsin(np.clip(chord / 2, 0, 1)))
