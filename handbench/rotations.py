"""Rotations in torch, differentiable everywhere they are used; numpy code uses scipy's Rotation."""

import torch
from torch import Tensor
from torch.nn.functional import normalize


def _products_to_matrix() -> Tensor:
    """(16, 9): the products ww, wx … zz of a unit quaternion's parts to its rotation matrix."""
    w, x, y, z = range(4)
    table = [[0.0] * 9 for _ in range(16)]
    for row, terms in enumerate(
        [
            [(w, w, 1), (x, x, 1), (y, y, -1), (z, z, -1)],
            [(x, y, 2), (w, z, -2)],
            [(x, z, 2), (w, y, 2)],
            [(x, y, 2), (w, z, 2)],
            [(w, w, 1), (x, x, -1), (y, y, 1), (z, z, -1)],
            [(y, z, 2), (w, x, -2)],
            [(x, z, 2), (w, y, -2)],
            [(y, z, 2), (w, x, 2)],
            [(w, w, 1), (x, x, -1), (y, y, -1), (z, z, 1)],
        ]
    ):
        for a, b, factor in terms:
            table[4 * a + b][row] = float(factor)
    return torch.tensor(table, dtype=torch.float64)


PRODUCTS_TO_MATRIX = _products_to_matrix()


def axis_angle_to_matrix(axis_angle: Tensor) -> Tensor:
    """Rotation matrices (…, 3, 3) of axis-angle vectors (…, 3), radians; smooth at zero.

    By way of the quaternion (cos a/2, axis sin a/2): few operations, no small denominators
    but one, which the tiny offset keeps away from zero, in value and in gradient.
    """
    angle = (axis_angle.square().sum(-1, keepdim=True) + 1e-16).sqrt()
    half = angle * 0.5
    quaternion = torch.cat([half.cos(), axis_angle * (half.sin() / angle)], -1)
    products = quaternion[..., :, None] * quaternion[..., None, :]
    return (products.flatten(-2) @ PRODUCTS_TO_MATRIX.to(angle)).unflatten(-1, (3, 3))


def six_d_to_matrix(six_d: Tensor) -> Tensor:
    """Rotation matrices (…, 3, 3) of six numbers (…, 6): two rows, made orthonormal.

    The first row is the first three numbers' direction, the second the rest's, made
    perpendicular to it, the third their cross product (Zhou et al. 2019, section 4.2).
    """
    first = normalize(six_d[..., :3], dim=-1)
    second = six_d[..., 3:]
    second = normalize(second - (first * second).sum(-1, keepdim=True) * first, dim=-1)
    return torch.stack([first, second, torch.linalg.cross(first, second)], -2)


def matrix_to_six_d(matrix: Tensor) -> Tensor:
    """The first two rows (…, 6) of rotation matrices (…, 3, 3)."""
    return matrix[..., :2, :].flatten(-2)


def matrix_to_axis_angle(matrix: Tensor) -> Tensor:
    """Axis-angle vectors (…, 3) of rotation matrices (…, 3, 3); angles 0 to pi, smooth at zero.

    By way of the quaternion, read from whichever of its four parts is largest, so that it
    is exact near half turns too (Shepperd 1978).
    """
    m = matrix
    xx, yy, zz = m[..., 0, 0], m[..., 1, 1], m[..., 2, 2]
    wx, wy, wz = (
        m[..., 2, 1] - m[..., 1, 2],
        m[..., 0, 2] - m[..., 2, 0],
        m[..., 1, 0] - m[..., 0, 1],
    )
    xy, xz, yz = (
        m[..., 1, 0] + m[..., 0, 1],
        m[..., 0, 2] + m[..., 2, 0],
        m[..., 2, 1] + m[..., 1, 2],
    )
    squares = torch.stack(
        [1 + xx + yy + zz, 1 + xx - yy - zz, 1 - xx + yy - zz, 1 - xx - yy + zz], -1
    )
    w, x, y, z = squares.unbind(-1)
    # row k is 4 q_k times the quaternion (w, x, y, z)
    rows = torch.stack([w, wx, wy, wz, wx, x, xy, xz, wy, xy, y, yz, wz, xz, yz, z], -1)
    best = squares.argmax(-1)[..., None, None].expand(*squares.shape[:-1], 1, 4)
    quaternion = normalize(rows.unflatten(-1, (4, 4)).gather(-2, best).squeeze(-2), dim=-1)
    quaternion = torch.where(quaternion[..., :1] < 0, -quaternion, quaternion)
    cosine, axis = quaternion[..., 0], quaternion[..., 1:]
    square = axis.square().sum(-1)
    small = square < 1e-8
    sine = torch.where(small, torch.ones_like(square), square).sqrt()
    ratio = torch.where(small, 2 + square / 3, 2 * torch.atan2(sine, cosine) / sine)
    return axis * ratio[..., None]
