"""A backbone with a pose and shape head: what every occlusion-aware part has to beat."""

from typing import Any

import torch
from torch import nn

from handbench.errors import ShapeError
from handbench.hand import Hand
from handbench.methods.parts.losses import distance, masked_mean
from handbench.methods.parts.mano_head import ManoHead
from handbench.methods.parts.resnet import ResNet
from handbench.rotations import axis_angle_to_matrix


class Plain(nn.Module):
    """Residual network, global average pooling, regression of the hand model's parameters.

    Nothing in it knows of occlusion; variant occlusion_augment trains it with occluders painted
    on half of the samples. paper: ResNet-50 at 256 px, the size of the methods it
    is compared with; tiny: four blocks of width 16 to 128 at 64 px. weight_pose: of the squared
    difference of rotations; weight_2d: of the 2D joints, a side output that places the hand in a
    picture; weight_shape: of the squared difference of shapes.
    """

    inputs, crop_px, frames, hands = ("image",), 256, 1, 1
    PRETRAINED = "resnet50-19c8e357.pth"
    VARIANTS: dict[str, dict[str, Any]] = {"full": {}, "occlusion_augment": {}}
    RECIPE_KEYS = {"occlusion_augment": {"occlusion_augment": True}}
    PRESETS: dict[str, dict[str, Any]] = {
        "paper": {},
        "tiny": {"crop_px": 64, "small": True, "width": 16, "hidden": 256},
    }

    def __init__(
        self,
        hand: Hand,
        crop_px: int = 256,
        small: bool = False,
        width: int = 64,
        hidden: int = 1024,
        weight_pose: float = 1.0,
        weight_2d: float = 0.2,
        weight_shape: float = 0.01,
    ) -> None:
        super().__init__()
        self.crop_px, self.weight_pose = crop_px, weight_pose
        self.weight_2d, self.weight_shape = weight_2d, weight_shape
        self.backbone = ResNet(small, width)
        self.head = ManoHead(hand, self.backbone.channels[-1], hidden)
        self.joints_2d = nn.Linear(self.backbone.channels[-1], 42)

    def forward(self, batch: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """image (B,3,S,S) -> the head's outputs and joints_crop (B,21,2). Raises ShapeError."""
        image = batch["image"]
        if image.shape[1:] != (3, self.crop_px, self.crop_px):
            raise ShapeError(
                f"plain takes images (B, 3, {self.crop_px}, {self.crop_px}), "
                f"not {tuple(image.shape)}"
            )
        features = self.backbone(image)[-1].mean((2, 3))
        joints_crop = 0.5 + self.joints_2d(features).view(-1, 21, 2)
        return {**self.head(features), "joints_crop": joints_crop}

    def losses(
        self, out: dict[str, torch.Tensor], batch: dict[str, torch.Tensor]
    ) -> dict[str, torch.Tensor]:
        """Weighted terms; what is not annotated counts nowhere."""
        rotations = axis_angle_to_matrix(batch["pose"].view(-1, 16, 3))
        pose_error = (out["rotations"] - rotations).square().sum((2, 3))
        shape_error = (out["shape"] - batch["shape"]).square()
        flat = distance(out["joints_crop"], batch["joints_crop"], batch["valid_joints"], True)
        return {
            "joints": distance(out["joints_m"], batch["joints_m"], batch["valid_joints"], True),
            "verts": distance(out["verts_m"], batch["verts_m"], batch["valid_verts"], True),
            "joints_2d": self.weight_2d * flat,
            "pose": self.weight_pose * masked_mean(pose_error, batch["valid_mano"]),
            "shape": self.weight_shape * masked_mean(shape_error, batch["valid_mano"]),
        }
