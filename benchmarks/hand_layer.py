"""Posing hands: the fused torch layer and the compiled numpy path against a plain transcription.

The reference is the model's definition written down joint by joint, as published layers do it:
shape and pose offsets as two products, joints regressed from 778 vertices, a Python loop over
the joint tree, 4 x 4 skinning.
"""

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


def run() -> list[Row]:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    hand = Hand.open()
    fused, loop = HandLayer(hand), LoopLayer(hand, torch.float32)
    exact = LoopLayer(hand, torch.float64)
    rows = []
    for batch, wanted in WANTED.items():
        pose, shape = torch.randn(batch, 48) * 0.5, torch.randn(batch, 10)
        repeats = max(1, 256 // batch)
        scale = 1e3 / repeats

        def repeat(function, times=repeats):
            return lambda: [function() for _ in range(times)]

        def backward(layer, pose=pose, shape=shape):
            inputs = pose.clone().requires_grad_(), shape.clone().requires_grad_()
            verts, joints = layer(*inputs)[:2]
            (verts.sum() + joints.sum()).backward()

        with torch.no_grad():
            calls = [repeat(lambda: loop(pose, shape)), repeat(lambda: fused(pose, shape))]
            times = interleave(calls, 15)
        rows.append(
            compare(f"layer forward, {batch}", "loop over joints", "ms", times, wanted, scale)
        )
        calls = [repeat(lambda: backward(loop)), repeat(lambda: backward(fused))]
        name = f"layer forward and backward, {batch}"
        rows.append(compare(name, "loop over joints", "ms", interleave(calls, 15), 1.5, scale))
        if batch >= 64:
            arrays = pose.double().numpy(), shape.double().numpy()
            wide = pose.double(), shape.double()
            calls = [repeat(lambda: exact(*wide)), repeat(lambda: hand.pose(*arrays))]
            with torch.no_grad():
                times = interleave(calls, 15)
            name = f"compiled numpy float64, {batch}"
            rows.append(compare(name, "loop over joints, float64", "ms", times, 6.0, scale))
    return rows


if __name__ == "__main__":
    main(run)
