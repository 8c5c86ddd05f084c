"""Keypoint Transformer (Hampali et al., CVPR 2022) with its small decoder: what OccRobNet is
compared with, and stands on.

Written anew from the paper and from facts about the code; released weights do not load.
"""

from typing import Any

from handbench.hand import Hand
from handbench.methods.parts.keypoint_transformer import TINY, KeypointTransformer
from handbench.methods.parts.pose_method import RECONSTRUCTION, PoseMethod, takes
from handbench.methods.parts.pyramid import SmallDecoder


@takes(KeypointTransformer.build, PoseMethod.build_pose)
class KyptSmall(KeypointTransformer):
    """U-Net features at 1/2 to 1/32 of the image, one heatmap for all joints at 1/2, joint tokens,
    softmax attention, pose.

    small, width: the trunk. more: options of parts.keypoint_transformer and parts.pose_method.
    """

    VARIANTS: dict[str, dict[str, Any]] = {
        "full": {},
        "2_5d": {"output": "2.5d"},
        "3d": {"output": "3d"},
        "two_hands": {"hands": 2},
        "hand_object": {"objects": True},
        "two_hands_object": {"hands": 2, "objects": True},
    }
    CELLS = {"full": 'OccRobNet Tables I, II, IV, row "Kypt Trans. [5]"'}
    PRETRAINED = "resnet50-19c8e357.pth"
    PRESETS: dict[str, dict[str, Any]] = {
        "paper": {},
        "tiny": {
            "crop_px": 64,
            "small": True,
            "width": 16,
            "radius": 2,
            "gamma": 1.5,
            "weights": {"heatmaps": 4.0},
            **TINY,
            "candidates": "maxima",
        },
    }

    def __init__(
        self,
        hand: Hand,
        crop_px: int = 256,
        small: bool = False,
        width: int = 64,
        radius: int = 5,
        gamma: float = 3.0,
        channel_heat: bool = False,
        **more: Any,
    ) -> None:
        super().__init__()
        self.crop_px = crop_px
        self.backbone = SmallDecoder(small, width)
        self.build(hand, radius=radius, gamma=gamma, channel_heat=channel_heat, **more)

    def conditions(self) -> dict[str, Any]:
        return {**super().conditions(), "status": RECONSTRUCTION}
