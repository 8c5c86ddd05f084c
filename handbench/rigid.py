"""Moving MANO parameters from one rigid frame to another."""

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation


def move_hand(
    pose: NDArray, trans_m: NDArray, rest_root_m: NDArray, R: NDArray, t_m: NDArray
) -> tuple[NDArray, NDArray]:
    """Pose and translation of the same hand seen from the frame x' = R x + t.

    pose (N,48) axis-angle, trans_m (N,3); rest_root_m (N,3): the wrist joint of the unposed hand
    of that shape, about which the hand model turns. Exact: R' = R R_root and
    trans' = R (trans + rest) + t - rest. Returns new arrays in float64.
    """
    moved = np.array(pose, dtype=np.float64)
    turned = Rotation.from_matrix(R) * Rotation.from_rotvec(moved[:, :3])
    moved[:, :3] = turned.as_rotvec()
    return moved, (trans_m + rest_root_m) @ R.T + t_m - rest_root_m
