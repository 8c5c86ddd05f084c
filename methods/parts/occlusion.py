"""H2ONet's occlusion classifier: which fingers of a frame are occluded, and whether the hand is."""

from typing import Any

import torch
from torch import nn

from handbench.methods.parts.orientation import start_kaiming

# Joints of each finger (thumb first), then of the palm. The released network reads them in MANO's
# numbering from joints in another: its "thumb" is the ring finger. The layers behind see all
# twenty, so it learns nonetheless; `own` reads each finger where it is.
JOINT_GROUPS = {
    "released": (
        ((13, 14, 15, 16), (1, 2, 3, 17), (4, 5, 6, 18), (10, 11, 12, 19), (7, 8, 9, 20)),
        (0, 1, 4, 10, 7),
    ),
    "own": (
        ((1, 2, 3, 4), (5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (17, 18, 19, 20)),
        (0, 5, 9, 13, 17),
    ),
}


class OcclusionClassifier(nn.Module):
    """Joint features (B,C,21) -> logits (B,2,6): class 0 visible, 1 occluded; fingers, then hand.

    Each finger's joints pass common layers and a base of all; five heads judge the fingers, a
    sixth the hand, from the base and the palm's joints. width: 256 as published; groups: one of
    JOINT_GROUPS. H2ONet section 3.2, figure 3b; layer sizes from its code.
    """

    def __init__(self, channels: int, width: int = 256, groups: str = "released") -> None:
        super().__init__()
        quarter = width // 4
        self.pre_layer = nn.Sequential(
            *(nn.Conv1d(channels, width // 2, 1), nn.BatchNorm1d(width // 2), nn.ReLU()),
            *(nn.Conv1d(width // 2, quarter, 1), nn.BatchNorm1d(quarter), nn.ReLU()),
        )
        self.base_layer = nn.Sequential(*normed(20 * quarter, 2 * width), *normed(2 * width, width))
        self.finger_cls_layer_list = nn.ModuleList(head(width, width // 2) for _ in range(5))
        self.glob_cls_layer = head(width + 5 * quarter, width)
        fingers, palm = JOINT_GROUPS[groups]
        self.register_buffer("fingers", torch.tensor(fingers), persistent=False)
        self.register_buffer("palm", torch.tensor(palm), persistent=False)
        self.fingers: torch.Tensor
        self.palm: torch.Tensor
        start_kaiming(self)
        self.register_load_state_dict_pre_hook(take_alias)

    def forward(self, at_joints: torch.Tensor) -> torch.Tensor:
        count, channels = at_joints.shape[:2]
        # fingers go through as one batch and the palm after them: so batch norms have counted them
        apart = at_joints[:, :, self.fingers].permute(2, 0, 1, 3).reshape(-1, channels, 4)
        fingers = self.pre_layer(apart).view(5, count, -1).transpose(0, 1).flatten(1)
        palm = self.pre_layer(at_joints[:, :, self.palm]).flatten(1)
        base = self.base_layer(fingers)
        logits = [layer(base) for layer in self.finger_cls_layer_list]
        logits.append(self.glob_cls_layer(torch.cat([base, palm], 1)))
        return torch.stack(logits, -1)


def normed(entering: int, leaving: int) -> tuple[nn.Module, ...]:
    return nn.Linear(entering, leaving), nn.BatchNorm1d(leaving), nn.ReLU()


def head(entering: int, middle: int) -> nn.Sequential:
    layers = *normed(entering, middle), *normed(middle, middle // 2)
    return nn.Sequential(*layers, nn.Linear(middle // 2, 2))


def take_alias(module: nn.Module, state: dict[str, Any], prefix: str, *_: Any) -> None:
    """Released files name the last finger's head twice; the second name is what they read last."""
    second = f"{prefix}finger_cls_layer."
    for name in [name for name in state if name.startswith(second)]:
        state[f"{prefix}finger_cls_layer_list.4.{name.removeprefix(second)}"] = state.pop(name)
