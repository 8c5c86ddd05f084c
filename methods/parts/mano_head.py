"""From a feature vector to a posed hand: 6D rotations and shape, then the hand layer."""

import torch
from torch import nn

from handbench.hand import Hand
from handbench.hand_layer import layer_for

IDENTITY = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)


class ManoHead(nn.Module):
    """Features (B,C) -> pose6d (B,96), shape (B,10), verts_m (B,778,3), joints_m (B,21,3),
    rotations (B,16,3,3), each relative to its parent.

    Two layers; the last one starts near the flat hand in its own orientation (6D bias =
    identity, weights a tenth). Points are wrist-relative. 6D: Zhou et al. 2019.
    """

    def __init__(self, hand: Hand, features: int, hidden: int) -> None:
        super().__init__()
        self.hidden = nn.Sequential(nn.Linear(features, hidden), nn.ReLU(inplace=True))
        self.out = nn.Linear(hidden, 96 + 10)
        self.layer = layer_for(hand)
        with torch.no_grad():
            self.out.weight.mul_(0.1)
            self.out.bias.copy_(torch.tensor(IDENTITY * 16 + (0.0,) * 10))

    def forward(self, features: torch.Tensor) -> dict[str, torch.Tensor]:
        pose, shape = self.out(self.hidden(features)).split([96, 10], 1)
        hand = self.layer(pose, shape, representation="six_d")
        wrist = hand.joints_m[:, :1]
        return {
            "pose6d": pose,
            "shape": shape,
            "verts_m": hand.verts_m - wrist,
            "joints_m": hand.joints_m - wrist,
            "rotations": hand.rotations,
        }
