"""The networks as their authors wrote them, operation by operation: what speed is measured against.

Written down from the papers and from facts about the code, on the weights of one of our networks:
norms run by themselves, attention with its whole N x N maps, the gate's product over all pairs
of cells, an unused smoothing layer, up-sampling before the gather and the linear layer, angles
by way of quaternions, and a hand posed joint by joint.
"""

import copy
from typing import Any

import torch
from hand_layer import LoopLayer
from torch import nn
from torch.nn import functional

from handbench.frames import MANO_TIPS
from handbench.hand_layer import HandLayer, HandOutput
from handbench.mesh.topology import Topology
from handbench.methods.parts.cross_attention import ChannelAttention
from handbench.methods.parts.injection import CrossAttention
from handbench.rotations import matrix_to_axis_angle


class Attention(nn.Module):
    """HandOccNet's block: softmax over all pairs, times the sigmoid of the pairs' sum."""

    def __init__(self, block: CrossAttention) -> None:
        super().__init__()
        self.block = block

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        block = self.block
        at_query, at_key = query + block.q_embedding, key + block.k_embedding
        q, k = self.heads(block.encode_query(at_query)), self.heads(block.encode_key(at_key))
        v = self.heads(block.encode_value(key))
        attention = ((q @ k.transpose(2, 3)) * block.scale).softmax(3)
        if block.gate == "sum":
            q2 = self.heads(block.encode_query2(at_query))
            k2 = self.heads(block.encode_key2(at_key))
            pairs = (q2 @ k2.transpose(2, 3)) * block.scale
            attention = attention * pairs.sum(3, keepdim=True).sigmoid()
        x = (attention @ v).transpose(1, 2).reshape(len(query), -1, query.shape[1])
        if block.residual == "input":
            x = query.flatten(2).transpose(1, 2) + x
        x = x + block.mlp["fc2"](functional.gelu(block.mlp["fc1"](block.norm2(x))))
        return x.transpose(1, 2).reshape(query.shape)

    def heads(self, maps: torch.Tensor) -> torch.Tensor:
        """(B,C,s,s) -> (B,heads,N,C/heads)."""
        tokens = maps.flatten(2).transpose(1, 2)
        return tokens.reshape(*tokens.shape[:2], self.block.heads, -1).transpose(1, 2)


class Channels(nn.Module):
    """HandGCAT's block: channels as tokens, softmax written out."""

    def __init__(self, block: ChannelAttention) -> None:
        super().__init__()
        self.block = block

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        block = self.block
        q, k, v = (
            maps.flatten(2).reshape(*maps.shape[:2], block.heads, -1).transpose(1, 2)
            for maps in (
                block.encode_query(query + block.q_embedding),
                block.encode_key(key + block.k_embedding),
                block.encode_value(key),
            )
        )
        attention = ((q @ k.transpose(2, 3)) * q.shape[3] ** -0.5).softmax(3)
        heard = (attention @ v).transpose(1, 2).reshape(*query.shape[:2], -1)
        x = query.flatten(2) + heard
        x = x + block.mlp["fc2"](functional.gelu(block.mlp["fc1"](block.norm2(x))))
        return x.reshape(query.shape)


class Spiral(nn.Module):
    """Up to the finer mesh, gather nine neighbours of each vertex, one linear layer."""

    def __init__(self, layer: nn.Linear, spirals: Any, up: Any = None) -> None:
        super().__init__()
        self.layer = layer
        self.spirals = torch.tensor(spirals)
        if up is not None:
            self.row, self.column = (torch.tensor(index) for index in up.nonzero())
            self.value = torch.tensor(up[up.nonzero()], dtype=torch.float32)[None, :, None]
        self.goes_up = up is not None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.transpose(0, 1)  # ours run along the mesh first
        if self.goes_up:
            parts = x.index_select(1, self.column) * self.value
            x = x.new_zeros(len(x), len(self.spirals), x.shape[2]).index_add_(1, self.row, parts)
        near = x.index_select(1, self.spirals.flatten())
        return self.layer(near.reshape(len(x), len(self.spirals), -1)).transpose(0, 1)


class LoopHand(nn.Module):
    """The hand layer as angles, then joint by joint."""

    def __init__(self, layer: HandLayer) -> None:
        super().__init__()
        self.loop = LoopLayer(layer.hand, layer.fold.dtype)
        self.mean = layer.mean

    def forward(
        self,
        pose: torch.Tensor,
        shape: torch.Tensor,
        representation: str = "axis_angle",
        flat_hand_mean: bool = True,
    ) -> HandOutput:
        angles = matrix_to_axis_angle(pose).flatten(1) if representation == "matrix" else pose
        if not flat_hand_mean:
            angles = torch.cat([angles[:, :3], angles[:, 3:] + self.mean], 1)
        verts, joints = self.loop(angles, shape)
        return HandOutput(verts, joints[:, MANO_TIPS], pose)


def authors_form(method: nn.Module, meshes: Topology | None = None) -> nn.Module:
    """A copy of a method with the released sizes that computes as its authors' code does.

    meshes: the mesh hierarchy of an H2ONet.
    """
    plain = copy.deepcopy(method).eval()
    forms = {CrossAttention: Attention, ChannelAttention: Channels, HandLayer: LoopHand}
    for part in list(plain.modules()):
        for name, child in list(part.named_children()):
            if type(child) in forms:
                setattr(part, name, forms[type(child)](child))
    decoder = getattr(plain, "decoder3d", None)
    if decoder is not None:
        assert meshes is not None
        for i, step in enumerate(decoder.de_layer):
            up, spirals = meshes.up_matrix(3 - i), meshes.spirals[3 - i]
            step.conv = Spiral(step.conv.layer, spirals, up)
        decoder.head = Spiral(decoder.head.layer, meshes.spirals[0])
    if hasattr(plain.backbone, "smooth2"):  # run on a map of the size of this one, then dropped
        plain.backbone.register_forward_hook(run_unused)
    return plain


def run_unused(pyramid: nn.Module, _: Any, features: torch.Tensor) -> None:
    pyramid.smooth2(features)
