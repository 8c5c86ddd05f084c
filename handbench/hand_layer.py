"""The hand model as a differentiable torch module, in batches, on any device."""

import math
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from handbench import frames, skinning
from handbench.errors import DataError, HandbenchError, ShapeError, UnknownName
from handbench.hand import Hand
from handbench.mano_files import FILES, find_mano
from handbench.rotations import axis_angle_to_matrix, matrix_to_axis_angle, six_d_to_matrix

REPRESENTATIONS = ("axis_angle", "matrix", "six_d", "pca")


class HandOutput(NamedTuple):
    """verts_m (B, 778, 3), joints_m (B, 21, 3), rotations (B, 16, 3, 3) relative to the parent."""

    verts_m: Tensor
    joints_m: Tensor
    rotations: Tensor


class HandLayer(nn.Module):
    """Linear blend skinning of a Hand (SMPL, Loper et al. 2015, equations 2 to 10).

    Rearranged for speed, not in meaning: template, shape and pose offsets are one matrix
    product, rest joints are a linear map of the shape, and vertices are blended with 3 x 4
    transforms; on the CPU by a compiled loop over the non-zero weights (once differentiable).
    The model's arrays are buffers that stay out of state_dict: a checkpoint must not carry
    a copy of a user's licensed model.
    """

    def __init__(self, hand: Hand, dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.hand = hand
        fold = hand.fold.copy()
        # offsets are linear in R - I: with I moved into the template they are linear in R
        fold[0] -= np.tile(np.eye(3).ravel(), 15) @ fold[11:]
        buffers = {
            "fold": fold,
            "joint_fold": hand.joint_fold,
            "weights": hand.weights.T,
            "mean": hand.hands_mean,
            "components": hand.hands_components,
            "weight": hand.sparse_weights[2],
            "last_row": np.array([0.0, 0.0, 0.0, 1.0]),
        }
        for name, array in buffers.items():
            value = torch.tensor(array, dtype=dtype).contiguous()
            self.register_buffer(name, value, persistent=False)
        indices = {
            "tips": hand.tip_ids,
            "order": frames.MANO_TIPS,
            "first": hand.sparse_weights[0],
            "joint": hand.sparse_weights[1],
        }
        for name, index in indices.items():
            self.register_buffer(name, torch.tensor(index), persistent=False)
        self.fold: Tensor
        self.joint_fold: Tensor
        self.weights: Tensor
        self.mean: Tensor
        self.components: Tensor
        self.weight: Tensor
        self.last_row: Tensor
        self.tips: Tensor
        self.order: Tensor
        self.first: Tensor
        self.joint: Tensor

    def forward(
        self,
        pose: Tensor,
        shape: Tensor,
        trans: Tensor | None = None,
        representation: str = "axis_angle",
        flat_hand_mean: bool = True,
    ) -> HandOutput:
        """Pose the hand; metres, trans (B, 3) added, the wrist elsewhere where shape puts it.

        pose, by representation: "axis_angle" (B, 48), "matrix" (B, 16, 3, 3), "six_d" (B, 96),
        "pca" (B, 3 + k): the wrist's axis-angle and k <= 45 coefficients. shape: (B, 10).
        flat_hand_mean: True when the finger angles are full; False when the model's mean
        pose must be added (axis_angle and pca only). Raises ShapeError, UnknownName.
        """
        with torch.autocast(pose.device.type, enabled=False):  # half precision costs millimetres
            pose, shape = pose.to(self.fold.dtype), shape.to(self.fold.dtype)
            if shape.shape != (pose.shape[0], 10):
                raise ShapeError(f"shape is {tuple(shape.shape)}, needs ({len(pose)}, 10)")
            rotations = self.to_rotations(pose, representation, flat_hand_mean)
            verts, joints = self.skin(rotations, shape)
            if trans is not None:
                shift = trans.to(verts.dtype)[:, None]
                verts, joints = verts + shift, joints + shift
        return HandOutput(verts, joints, rotations)

    def to_rotations(self, pose: Tensor, representation: str, flat_hand_mean: bool) -> Tensor:
        """Rotation matrices (B, 16, 3, 3), each relative to the parent, of pose in any form."""
        if representation not in REPRESENTATIONS:
            raise UnknownName("rotation form", representation, REPRESENTATIONS)
        if representation in ("matrix", "six_d"):
            if not flat_hand_mean:
                raise HandbenchError(
                    f"flat_hand_mean=False with {representation}: the mean pose is an axis-angle "
                    "offset; give axis_angle or pca, or full rotations"
                )
            width = (16, 3, 3) if representation == "matrix" else (16, 6)
            rotation = _reshape(pose, width, representation)
            return rotation if representation == "matrix" else six_d_to_matrix(rotation)
        if representation == "pca":
            count = pose.shape[1] - 3
            if pose.ndim != 2 or not 0 <= count <= len(self.components):
                most = len(self.components)
                raise ShapeError(f"pca pose is {tuple(pose.shape)}, needs (B, 3 + k), k <= {most}")
            pose = torch.cat([pose[:, :3], pose[:, 3:] @ self.components[:count]], 1)
        pose = _reshape(pose, (48,), representation)
        if not flat_hand_mean:
            pose = torch.cat([pose[:, :3], pose[:, 3:] + self.mean], 1)
        vectors = pose.view(-1, 16, 3)
        if pose.requires_grad or not _can_compile(pose):
            return axis_angle_to_matrix(vectors)
        return torch.from_numpy(skinning.rotations(vectors.numpy())).to(pose.dtype)

    def skin(self, rotations: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """Vertices (B, 778, 3) and joints (B, 21, 3) of rotations (B, 16, 3, 3), shape (B, 10)."""
        features = torch.cat([shape, rotations[:, 1:].flatten(1)], 1)
        rest = torch.addmm(self.fold[0], features, self.fold[1:])
        rest_joints = torch.addmm(self.joint_fold[0], shape, self.joint_fold[1:])
        rest_joints = rest_joints.view(-1, 16, 3)
        if _can_compile(rest):
            sparse = self.first, self.joint, self.weight
            verts, joints = _CompiledSkin.apply(rest, rest_joints, rotations, *sparse)
        else:
            verts, joints = self.skin_plainly(rest.view(-1, 778, 3), rest_joints, rotations)
        return verts, torch.cat([joints, verts[:, self.tips]], 1)[:, self.order]

    def skin_plainly(
        self, rest: Tensor, rest_joints: Tensor, rotations: Tensor
    ) -> tuple[Tensor, Tensor]:
        """skinning.skin in torch's operations: vertices (B, 778, 3), joints (B, 16, 3)."""
        at = rest_joints[..., None]
        # each joint turns what hangs on it about its own place: [R, J - R J]
        turns = torch.cat([rotations, at - rotations @ at], 3)
        turns = torch.cat([turns, self.last_row.expand(turns.shape[0], 16, 1, 4)], 2)
        fingers = turns[:, 1:].unflatten(1, (5, 3))  # (B, 5, 3 joints, 4, 4)
        first = turns[:, :1] @ fingers[:, :, 0]
        second = first @ fingers[:, :, 1]
        chain = torch.stack([first, second, second @ fingers[:, :, 2]], 2).flatten(1, 2)
        moves = torch.cat([turns[:, :1], chain], 1)[:, :, :3]  # (B, 16, 3, 4)
        joints = (moves[..., :3] @ at + moves[..., 3:]).squeeze(3)
        # components before vertices: the blend then runs along memory
        blended = (moves.flatten(2).mT.flatten(0, 1) @ self.weights).view(-1, 3, 4, 778)
        verts = blended[:, :, 3]
        for k in range(3):
            verts = torch.addcmul(verts, blended[:, :, k], rest[:, None, :, k])
        return verts.mT.contiguous(), joints


def _can_compile(tensor: Tensor) -> bool:
    """Whether numba may take over: exports need torch's own operations, so do other devices."""
    exporting = torch.jit.is_tracing() or torch.compiler.is_compiling()
    return tensor.device.type == "cpu" and not exporting


class _CompiledSkin(torch.autograd.Function):
    """skinning.skin and its gradient on the CPU: vertices and joints of a rest hand."""

    @staticmethod
    def forward(ctx, rest, rest_joints, rotations, *sparse):  # type: ignore[override]
        inputs = rest, rest_joints, rotations.contiguous(), *sparse
        verts, joints = rest.new_empty(len(rest), 778, 3), torch.empty_like(rest_joints)
        skinning.skin(*(t.detach().numpy() for t in (*inputs, verts, joints)))
        ctx.save_for_backward(*inputs)
        return verts, joints

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx, grad_verts, grad_joints):  # type: ignore[override]
        inputs = ctx.saved_tensors
        grads = [torch.empty_like(t) for t in inputs[:3]]
        given = (*inputs, grad_verts.contiguous(), grad_joints.contiguous(), *grads)
        skinning.skin_backward(*(t.detach().numpy() for t in given))
        return *grads, None, None, None


class _ManopthLayer(HandLayer):
    """The same interface with vertices and joints computed by the user's own manopth."""

    def __init__(self, hand: Hand, layer: nn.Module, dtype: torch.dtype) -> None:
        super().__init__(hand, dtype)
        self.layer = layer.to(dtype)

    def state_dict(self, *args, **kwargs):  # type: ignore[override]
        """Nothing: manopth registers the model's arrays as saved buffers."""
        return {}

    def skin(self, rotations: Tensor, shape: Tensor) -> tuple[Tensor, Tensor]:
        """As HandLayer.skin; manopth counts in millimetres."""
        verts, joints = self.layer(matrix_to_axis_angle(rotations).flatten(1), shape)[:2]
        return verts / 1000, joints / 1000


LAYERS = ("own", "manopth")
_chosen = "own"


def choose(name: str) -> None:
    """Which layer the methods built from now on pose hands with: "own" or "manopth"."""
    global _chosen
    if name not in LAYERS:
        raise UnknownName("hand layer", name, LAYERS)
    _chosen = name


def chosen() -> str:
    return _chosen


def layer_for(hand: Hand) -> HandLayer:
    """The chosen layer for a hand. Raises HandbenchError when manopth cannot pose it."""
    if _chosen == "own":
        return HandLayer(hand)
    if hand.kind != "mano":
        raise HandbenchError(
            "--hand-layer manopth poses MANO only, and this data is of the open hand: prepare data "
            "with MANO, or leave the flag out"
        )
    return load_manopth_layer("left" if hand.is_left else "right")


def load_manopth_layer(
    side: str = "right", folder: str | Path | None = None, dtype: torch.dtype = torch.float32
) -> HandLayer:
    """A layer with HandLayer's interface on an installed manopth and the user's MANO files.

    folder: where MANO_RIGHT.pkl and MANO_LEFT.pkl lie, else $HANDBENCH_MANO.
    Raises HandbenchError when manopth is not installed, DataError when there are no files.
    """
    path = Path(folder) / FILES[side] if folder else find_mano(side)
    if path is None:
        raise DataError("manopth needs MANO's files: set HANDBENCH_MANO to their folder")
    try:
        manolayer = import_module("manopth.manolayer")
    except ImportError as error:
        raise HandbenchError(
            f"the manopth hand layer needs the package manopth ({error}): install it from its "
            "authors' repository (hassony2/manopth), or use the built-in layer"
        ) from error
    layer = manolayer.ManoLayer(
        mano_root=str(path.parent),
        side=side,
        use_pca=False,
        flat_hand_mean=True,
        ncomps=45,
        center_idx=None,
    )
    return _ManopthLayer(Hand.load(path), layer, dtype)


def _reshape(pose: Tensor, shape: tuple[int, ...], name: str) -> Tensor:
    """pose (B, …) as (B, *shape). Raises ShapeError when the numbers are not as many."""
    if pose.ndim < 2 or math.prod(pose.shape[1:]) != math.prod(shape):
        raise ShapeError(f"{name} pose is {tuple(pose.shape)}, needs (B, {math.prod(shape)})")
    return pose.reshape(-1, *shape)
