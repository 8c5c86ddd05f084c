"""The compiled inner loops of posing a hand: rotations, the joint chain, blend skinning."""

import numpy as np
from numba import njit
from numpy.typing import NDArray

# NaN stays NaN: all of fast-math but the assumption that there are none
FAST = {"reassoc", "contract", "arcp", "nsz"}


@njit(cache=True, nogil=True)
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


@njit(cache=True, nogil=True, fastmath=FAST)
def _set_moves(rotation: NDArray, rest_joints: NDArray, moves: NDArray) -> None:
    """Transforms (16, 3, 4) that carry rest points along with each joint of one hand.

    Joint j turns what hangs on it about its own place, x -> R x + (J - R J), after its parent.
    """
    for j in range(16):
        parent = parent_of(j)
        for a in range(3):
            shift = rest_joints[j, a]
            for b in range(3):
                moves[j, a, b] = rotation[j, a, b]
                shift -= rotation[j, a, b] * rest_joints[j, b]
            moves[j, a, 3] = shift
        if j > 0:
            for b in range(4):
                x, y, z = moves[j, 0, b], moves[j, 1, b], moves[j, 2, b]
                for a in range(3):
                    p = moves[parent, a]
                    moves[j, a, b] = p[0] * x + p[1] * y + p[2] * z
                    if b == 3:
                        moves[j, a, b] += p[3]


@njit(cache=True, nogil=True)
def parent_of(joint: int) -> int:
    """The wrist for the first joint of each finger, else the joint before."""
    return 0 if joint % 3 == 1 else joint - 1


@njit(cache=True, nogil=True, fastmath=FAST)
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
    moves = np.empty((16, 3, 4), rotation.dtype)
    for n in range(len(rest_verts)):
        _set_moves(rotation[n], rest_joints[n], moves)
        for j in range(16):
            x, y, z = rest_joints[n, j, 0], rest_joints[n, j, 1], rest_joints[n, j, 2]
            for a in range(3):
                m = moves[j, a]
                joints[n, j, a] = m[0] * x + m[1] * y + m[2] * z + m[3]
        for v in range(verts.shape[1]):
            x, y, z = rest_verts[n, 3 * v], rest_verts[n, 3 * v + 1], rest_verts[n, 3 * v + 2]
            px = py = pz = x * 0
            for e in range(first[v], first[v + 1]):
                w = weight[e]
                m = moves[joint[e]]
                px += w * (m[0, 0] * x + m[0, 1] * y + m[0, 2] * z + m[0, 3])
                py += w * (m[1, 0] * x + m[1, 1] * y + m[1, 2] * z + m[1, 3])
                pz += w * (m[2, 0] * x + m[2, 1] * y + m[2, 2] * z + m[2, 3])
            verts[n, v, 0] = px
            verts[n, v, 1] = py
            verts[n, v, 2] = pz


@njit(cache=True, nogil=True, fastmath=FAST)
def skin_backward(
    rest_verts: NDArray,
    rest_joints: NDArray,
    rotation: NDArray,
    first: NDArray,
    joint: NDArray,
    weight: NDArray,
    grad_verts: NDArray,
    grad_joints: NDArray,
    grad_rest_verts: NDArray,
    grad_rest_joints: NDArray,
    grad_rotation: NDArray,
) -> None:
    """The last three from grad_verts and grad_joints: reverse mode of skin, same arguments."""
    moves = np.empty((16, 3, 4), rotation.dtype)
    grad = np.empty((16, 3, 4), rotation.dtype)  # of moves
    local = np.empty(4, rotation.dtype)
    for n in range(len(rest_verts)):
        _set_moves(rotation[n], rest_joints[n], moves)
        for j in range(16):
            for a in range(3):
                g = grad_joints[n, j, a]
                for b in range(3):
                    grad[j, a, b] = g * rest_joints[n, j, b]
                grad[j, a, 3] = g
            for b in range(3):
                total = moves[j, 0, b] * grad_joints[n, j, 0]
                total += moves[j, 1, b] * grad_joints[n, j, 1]
                grad_rest_joints[n, j, b] = total + moves[j, 2, b] * grad_joints[n, j, 2]
        for v in range(grad_verts.shape[1]):
            x, y, z = rest_verts[n, 3 * v], rest_verts[n, 3 * v + 1], rest_verts[n, 3 * v + 2]
            gx, gy, gz = grad_verts[n, v, 0], grad_verts[n, v, 1], grad_verts[n, v, 2]
            rx = ry = rz = x * 0
            for e in range(first[v], first[v + 1]):
                m = moves[joint[e]]
                d = grad[joint[e]]
                wx, wy, wz = weight[e] * gx, weight[e] * gy, weight[e] * gz
                rx += m[0, 0] * wx + m[1, 0] * wy + m[2, 0] * wz
                ry += m[0, 1] * wx + m[1, 1] * wy + m[2, 1] * wz
                rz += m[0, 2] * wx + m[1, 2] * wy + m[2, 2] * wz
                d[0, 0] += wx * x
                d[0, 1] += wx * y
                d[0, 2] += wx * z
                d[0, 3] += wx
                d[1, 0] += wy * x
                d[1, 1] += wy * y
                d[1, 2] += wy * z
                d[1, 3] += wy
                d[2, 0] += wz * x
                d[2, 1] += wz * y
                d[2, 2] += wz * z
                d[2, 3] += wz
            grad_rest_verts[n, 3 * v] = rx
            grad_rest_verts[n, 3 * v + 1] = ry
            grad_rest_verts[n, 3 * v + 2] = rz
        for j in range(15, -1, -1):  # children before parents
            r = rotation[n, j]
            at = rest_joints[n, j]
            if j > 0:
                _pass_to_parent(r, at, moves[parent_of(j)], grad[j], grad[parent_of(j)], local)
            for a in range(3):
                shift = grad[j, a, 3]
                grad_rest_joints[n, j, a] += shift
                for b in range(3):
                    grad_rotation[n, j, a, b] = grad[j, a, b] - shift * at[b]
                    grad_rest_joints[n, j, b] -= r[a, b] * shift


@njit(cache=True, nogil=True, fastmath=FAST)
def _pass_to_parent(
    r: NDArray, at: NDArray, parent: NDArray, grad: NDArray, grad_parent: NDArray, local: NDArray
) -> None:
    """Split grad of parent @ [r, at - r at] into grad_parent (added to) and, in place, the rest."""
    for a in range(3):
        shift = at[a] - r[a, 0] * at[0] - r[a, 1] * at[1] - r[a, 2] * at[2]
        for b in range(3):
            total = grad[b, 3] * shift
            for k in range(3):
                total += grad[b, k] * r[a, k]
            grad_parent[b, a] += total
        grad_parent[a, 3] += grad[a, 3]
    for b in range(4):
        for a in range(3):
            local[a] = (
                parent[0, a] * grad[0, b] + parent[1, a] * grad[1, b] + parent[2, a] * grad[2, b]
            )
        for a in range(3):
            grad[a, b] = local[a]
