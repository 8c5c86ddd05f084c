"""Posing hands: the fused torch layer and the compiled numpy path against a plain transcription.

The reference is the model's definition written down joint by joint, as published layers do it:
shape and pose offsets as two products, joints regressed from 778 vertices, a Python loop over
the joint tree, 4 x 4 skinning.
"""

from collections.abc import Callable

import torch
from report import Row, compare, interleave, main
from torch import Tensor

from handbench.hand import PARENTS, Hand
from handbench.hand_layer import HandLayer

WANTED = {1: 2.0, 32: 2.0, 64: 3.0, 256: 2.0}


class LoopLayer(torch.nn.Module):
    """The definition of linear blend skinning, one joint after the other."""

    def __init__(self, hand: Hand, dtype: torch.dtype) -> None:
        super().__init__()
        self.template = torch.tensor(hand.v_template, dtype=dtype)
        self.shapes = torch.tensor(hand.shapedirs, dtype=dtype)
        self.poses = torch.tensor(hand.posedirs, dtype=dtype).reshape(-1, 135).T.contiguous()
        self.regressor = torch.tensor(hand.J_regressor, dtype=dtype)
        self.weights = torch.tensor(hand.weights, dtype=dtype)
        self.tips = torch.tensor(hand.tip_ids)

    def forward(self, pose: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        batch = len(pose)
        shaped = self.template + torch.einsum("bk,vck->bvc", shape, self.shapes)
        rest_joints = torch.einsum("jv,bvc->bjc", self.regressor, shaped)
        rotation = rodrigues(pose.view(-1, 3)).view(batch, 16, 3, 3)
        offsets = (rotation[:, 1:] - torch.eye(3, dtype=pose.dtype)).reshape(batch, -1)
        rest = shaped + (offsets @ self.poses).view(batch, -1, 3)
        local = rest_joints - torch.cat(
            [torch.zeros_like(rest_joints[:, :1]), rest_joints[:, PARENTS[1:]]], 1
        )
        affine = torch.nn.functional.pad(torch.cat([rotation, local[..., None]], 3), (0, 0, 0, 1))
        affine[:, :, 3, 3] = 1
        chain = [affine[:, 0]]
        for joint in range(1, 16):
            chain.append(chain[PARENTS[joint]] @ affine[:, joint])
        world = torch.stack(chain, 1)
        joints = world[:, :, :3, 3]
        back = world @ torch.nn.functional.pad(rest_joints, (0, 1))[..., None]
        relative = world - torch.nn.functional.pad(back, (3, 0))
        blend = (self.weights.expand(batch, -1, -1) @ relative.view(batch, 16, 16)).view(
            -1, 778, 4, 4
        )
        homogeneous = torch.cat([rest, torch.ones_like(rest[..., :1])], 2)
        verts = (blend @ homogeneous[..., None])[:, :, :3, 0]
        return verts, torch.cat([joints, verts[:, self.tips]], 1)


def rodrigues(axis_angle: Tensor) -> Tensor:
    """Rotation matrices (N, 3, 3) of axis-angle vectors (N, 3), as the formula is written."""
    angle = (axis_angle + 1e-8).norm(dim=1, keepdim=True)
    x, y, z = (axis_angle / angle).unbind(1)
    zero = torch.zeros_like(x)
    cross = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)
    angle = angle[..., None]
    identity = torch.eye(3, dtype=angle.dtype)
    return identity + angle.sin() * cross + (1 - angle.cos()) * (cross @ cross)


def backward(layer: torch.nn.Module, pose: Tensor, shape: Tensor) -> None:
    inputs = pose.clone().requires_grad_(), shape.clone().requires_grad_()
    verts, joints = layer(*inputs)[:2]
    (verts.sum() + joints.sum()).backward()


def measure(hand: Hand, batch: int) -> list[Row]:
    """Rows for one batch size; each timed call poses at least 256 hands."""
    fused, loop = HandLayer(hand), LoopLayer(hand, torch.float32)
    exact = LoopLayer(hand, torch.float64)
    pose, shape = torch.randn(batch, 48) * 0.5, torch.randn(batch, 10)
    wide = pose.double(), shape.double()
    arrays = [t.numpy() for t in wide]
    repeats = max(1, 256 // batch)

    def row(name: str, reference: Callable, ours: Callable, target: float) -> Row:
        calls = [lambda f=f: [f() for _ in range(repeats)] for f in (reference, ours)]
        times = interleave(calls, 15)
        return compare(f"{name}, {batch}", "loop over joints", "ms", times, target, 1e3 / repeats)

    with torch.no_grad():
        rows = [
            row("forward", lambda: loop(pose, shape), lambda: fused(pose, shape), WANTED[batch])
        ]
        if batch >= 64:
            numpy = row("numpy, float64", lambda: exact(*wide), lambda: hand.pose(*arrays), 6.0)
            rows.append(numpy)
    both = [lambda layer=layer: backward(layer, pose, shape) for layer in (loop, fused)]
    return [*rows, row("forward and backward", *both, 1.5)]


def run() -> list[Row]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hand = Hand.open()
    return [row for batch in WANTED for row in measure(hand, batch)]


if __name__ == "__main__":
    main(run)
