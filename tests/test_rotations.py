import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from handbench.rotations import (
    axis_angle_to_matrix,
    matrix_to_axis_angle,
    matrix_to_six_d,
    six_d_to_matrix,
)
from handbench.skinning import rotations

# from none to half a turn, along and off the axes
ANGLES = [0.0, 1e-12, 1e-7, 1e-4, 0.1, 1.0, np.pi / 2, 3.0, np.pi - 1e-7, np.pi]
AXES = np.concatenate([np.eye(3), -np.eye(3), Rotation.random(6, rng=0).as_rotvec()])
VECTORS = np.concatenate([a * AXES / np.linalg.norm(AXES, axis=1, keepdims=True) for a in ANGLES])


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-14), (torch.float32, 1e-6)])
def test_axis_angle_agrees_with_scipy(dtype, within):
    matrix = axis_angle_to_matrix(torch.tensor(VECTORS, dtype=dtype))
    truth = Rotation.from_rotvec(VECTORS).as_matrix()
    np.testing.assert_allclose(matrix.numpy(), truth, atol=within)
    np.testing.assert_allclose(rotations(VECTORS[None])[0], truth, atol=1e-14)


@pytest.mark.parametrize(("dtype", "within"), [(torch.float64, 1e-8), (torch.float32, 2e-3)])
def test_matrix_to_axis_angle_inverts(dtype, within):
    truth = Rotation.from_rotvec(VECTORS)
    vectors = matrix_to_axis_angle(torch.tensor(truth.as_matrix(), dtype=dtype)).double().numpy()
    assert (np.linalg.norm(vectors, axis=1) <= np.pi + 1e-6).all()
    assert (Rotation.from_rotvec(vectors) * truth.inv()).magnitude().max() < within


def test_derivatives_are_right_at_and_off_zero():
    for scale in (0.0, 1e-5, 0.5, 3.0):
        vectors = torch.tensor(AXES[6:] * scale / 3, requires_grad=True)
        assert torch.autograd.gradcheck(axis_angle_to_matrix, vectors)
        assert torch.autograd.gradcheck(
            lambda v: matrix_to_axis_angle(axis_angle_to_matrix(v)), vectors
        )
    zero = torch.zeros(1, 3, requires_grad=True)
    axis_angle_to_matrix(zero)[0, 2, 1].backward()
    np.testing.assert_allclose(zero.grad[0].numpy(), [1, 0, 0], atol=1e-6)


def test_six_d_rows():
    numbers = torch.tensor([[2.0, 0, 0, 5, 3, 0]])
    np.testing.assert_allclose(six_d_to_matrix(numbers)[0].numpy(), np.eye(3), atol=1e-7)
    truth = torch.tensor(Rotation.random(50, rng=1).as_matrix())
    np.testing.assert_allclose(six_d_to_matrix(matrix_to_six_d(truth)), truth, atol=1e-12)
    free = torch.randn(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    matrix = six_d_to_matrix(free)
    np.testing.assert_allclose(matrix @ matrix.mT, np.tile(np.eye(3), (20, 1, 1)), atol=1e-12)
    np.testing.assert_allclose(torch.linalg.det(matrix), 1.0, atol=1e-12)
    assert torch.autograd.gradcheck(six_d_to_matrix, free.requires_grad_())
