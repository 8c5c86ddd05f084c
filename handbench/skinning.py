"""The compiled inner loops of posing a hand: rotations, the joint chain, blend skinning."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

# NaN stays NaN: all of fast-math but the assumption that there are none
FAST = {"reassoc", "contract", "arcp", "nsz"}


@njit(cache=True)
def rotations(axis_angle: NDArray) -> NDArray:
    """Rotation matrices (N, K, 3, 3) of axis-angle vectors (N, K, 3), by Rodrigues' formula."""
    out = np.empty(axis_angle.shape[:2] + (3, 3))
    for n in range(axis_angle.shape[0]):
        for k in range(axis_angle.shape[1]):
            x, y, z = axis_angle[n, k]
            square = x * x + y * y + z * z
            if square > 1e-12:
                angle = np.sqrt(square)
                s = np.sin(angle) / angle
                c = (1 - np.cos(angle)) / square
            else:  # the series to second order, exact here in double precision
                s = 1 - square / 6
                c = 0.5 - square / 24
            r = out[n, k]
            r[0, 0] = 1 - c * (y * y + z * z)
            r[0, 1] = c * x * y - s * z
            r[0, 2] = c * x * z + s * y
            r[1, 0] = c * x * y + s * z
            r[1, 1] = 1 - c * (x * x + z * z)
            r[1, 2] = c * y * z - s * x
            r[2, 0] = c * x * z - s * y
            r[2, 1] = c * y * z + s * x
            r[2, 2] = 1 - c * (x * x + y * y)
    return out


def features(shape: NDArray, rotation: NDArray) -> NDArray:
    """[1, shape, R - I of the 15 finger joints] (N, 146), what a rest mesh is linear in."""
    out = np.ones((len(shape), 146))
    out[:, 1:11] = shape
    out[:, 11:] = (rotation[:, 1:] - np.eye(3)).reshape(-1, 135)
    return out


@njit(cache=True, fastmath=FAST)
def skin(
    rest_verts: NDArray,
    rest_joints: NDArray,
    rotation: NDArray,
    first: NDArray,
    joint: NDArray,
    weight: NDArray,
    verts: NDArray,
    joints: NDArray,
) -> None:
    """Pose rest_verts (N, 2334) into verts (N, 778, 3) and joints (N, 16, 3).

    rest_joints: (N, 16, 3); rotation: (N, 16, 3, 3) relative to the parent; first, joint, weight:
    the sparse skinning weights by vertex. SMPL, equations 2 to 4.
    """
    world = np.empty((16, 3, 4))  # rotation and shift that carry a rest point along
    for n in range(len(rest_verts)):
        for j in range(16):
            # parents: the wrist for the first joint of each finger, else the joint before
            parent = 0 if j % 3 == 1 else j - 1
            for a in range(3):
                for b in range(3):
                    if j == 0:
                        world[j, a, b] = rotation[n, j, a, b]
                    else:
                        world[j, a, b] = (
                            world[parent, a, 0] * rotation[n, j, 0, b]
                            + world[parent, a, 1] * rotation[n, j, 1, b]
                            + world[parent, a, 2] * rotation[n, j, 2, b]
                        )
            for a in range(3):
                at = rest_joints[n, j, a]
                if j > 0:
                    at = world[parent, a, 3]
                    for b in range(3):
                        at += world[parent, a, b] * rest_joints[n, j, b]
                joints[n, j, a] = at
                world[j, a, 3] = at
                for b in range(3):
                    world[j, a, 3] -= world[j, a, b] * rest_joints[n, j, b]
        for v in range(verts.shape[1]):
            x = rest_verts[n, 3 * v]
            y = rest_verts[n, 3 * v + 1]
            z = rest_verts[n, 3 * v + 2]
            px = py = pz = 0.0
            for e in range(first[v], first[v + 1]):
                w = weight[e]
                m = world[joint[e]]
                px += w * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
                py += w * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
                pz += w * (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3])
            verts[n, v, 0] = px
            verts[n, v, 1] = py
            verts[n, v, 2] = pz
