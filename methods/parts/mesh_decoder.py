"""From features at the 2D joints up the mesh hierarchy of a hand, as MobRecon and H2ONet do."""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from handbench.mesh.topology import SIZES, Topology
from handbench.methods.parts.spiral import SpiralConv, SpiralUp


class MeshDecoder(nn.Module):
    """Features at the 2D joints, lifted to 49 vertices and up the mesh hierarchy to 778.

    H2ONet section 3.2, equation 1. widths: channels on 49, 98, 195, 389 and 778 vertices. The
    published network keeps its heads in here too: rot_reg, occ_pred, offset_pred are set by it.
    """

    rot_reg: Any
    occ_pred: Any
    offset_pred: Any

    def __init__(self, topology: Topology, widths: tuple[int, ...]) -> None:
        super().__init__()
        self.upsample = nn.Parameter(torch.full((SIZES[-1], 21), 0.01))
        self.de_layer_conv = nn.Sequential(nn.Conv2d(widths[0], widths[0], 1, bias=False))
        self.de_layer = nn.ModuleList(
            SpiralUp(widths[i], widths[i + 1], topology.up_matrix(3 - i), topology.spirals[3 - i])
            for i in range(4)
        )
        self.head = SpiralConv(widths[-1], 3, topology.spirals[0])

    def at_joints(self, features: torch.Tensor, joints_crop: torch.Tensor) -> torch.Tensor:
        """Maps (B,C,s,s) and joints (B,21,2) in 0..1 -> what the maps hold there (B,C,21)."""
        grid = (2 * (joints_crop - 0.5)).clamp(-1, 1)[:, :, None]
        return functional.grid_sample(self.de_layer_conv(features), grid, align_corners=True)[
            ..., 0
        ]

    def climb(self, at_joints: torch.Tensor) -> torch.Tensor:
        """(B,C,21) -> features of the vertices (778,B,c), from which `head` makes the mesh."""
        x = torch.einsum("vj,bcj->vbc", self.upsample, at_joints)
        for layer in self.de_layer:
            x = layer(x)
        return x

    def mesh(self, features: torch.Tensor) -> torch.Tensor:
        """(778,B,c) -> vertices (B,778,3) m."""
        return self.head(features).transpose(0, 1)
