"""OccRobNet (Garg, Pradhan, Ghosh, 2025): keypoints from context-aware features, told apart by
softmax x sigmoid attention.

No code was published: this is our reconstruction, with 29 choices of ours, which
docs/methods/occrobnet.md lists with reasons. Numbers of it are not the authors'.
"""

from itertools import product
from typing import Any

import torch
from torch import nn

from handbench.hand import Hand
from handbench.methods.parts.context import ContextBlock
from handbench.methods.parts.keypoint_transformer import TINY, KeypointTransformer
from handbench.methods.parts.pose_method import RECONSTRUCTION, PoseMethod, takes
from handbench.methods.parts.pyramid import Pyramid

CONTEXTS: dict[str, dict[str, Any]] = {"": {}, "no_ciet": {"context": False}}
ATTENTIONS: dict[str, dict[str, Any]] = {
    "": {},
    "encoder_only": {"where": "encoder"},
    "decoder_only": {"where": "decoder"},
    "no_softmax": {"attention": "sigmoid"},
    "no_softmax_encoder_only": {"attention": "sigmoid", "where": "encoder"},
    "no_softmax_decoder_only": {"attention": "sigmoid", "where": "decoder"},
    "no_sigmoid": {"attention": "softmax"},
}
OUTPUTS: dict[str, dict[str, Any]] = {"": {}, "2_5d": {"output": "2.5d"}, "3d": {"output": "3d"}}


def grid() -> dict[str, dict[str, Any]]:
    """CIET or none x attention and where it is x pose: full, no_ciet, …, no_ciet_no_sigmoid_3d."""
    found = {}
    for parts in product(CONTEXTS.items(), ATTENTIONS.items(), OUTPUTS.items()):
        name = "_".join(word for word, _ in parts if word) or "full"
        found[name] = {key: value for _, options in parts for key, value in options.items()}
    return found


@takes(KeypointTransformer.build, PoseMethod.build_pose)
class OccRobNet(KeypointTransformer):
    """Feature pyramid, CIET, heatmaps, joint tokens, encoder, decoder, pose.

    small, width, channels, source: the trunk and the pyramid (parts.pyramid). context: CIET or
    none; context_softmax: of its attention. more: options of parts.keypoint_transformer and
    parts.pose_method. Raises UnknownName, HandbenchError.
    """

    VARIANTS: dict[str, dict[str, Any]] = {
        **grid(),
        "gate": {"attention": "gate"},  # HandOccNet's form: one sigmoid a query
        "two_hands": {"hands": 2},
        "hand_object": {"objects": True},
        "two_hands_object": {"hands": 2, "objects": True},
    }
    CELLS = {
        "full": 'OccRobNet Tables I, II, IV, row "Ours"; Table III, "w/ CIET & sigmoid att."',
        "no_sigmoid": 'OccRobNet Table III, row "w/ CIET"',
        "no_ciet": 'OccRobNet Table III, row "w/ sigmoid att."',
        "no_ciet_no_softmax": 'the same row, read as sigmoid alone ("only the sigmoid attention")',
        "two_hands": 'OccRobNet Table I, row "Ours"',
        "hand_object": "OccRobNet section IV-A, MSSD",
        "two_hands_object": 'OccRobNet Table IV, row "Ours"',
    }
    PRETRAINED = "resnet50-19c8e357.pth"
    PRESETS: dict[str, dict[str, Any]] = {
        "paper": {},
        "tiny": {
            "crop_px": 64,
            "small": True,
            "width": 16,
            "channels": 32,
            **TINY,
        },
    }

    def __init__(
        self,
        hand: Hand,
        crop_px: int = 256,
        small: bool = False,
        width: int = 64,
        channels: int = 256,
        source: str = "pooled",
        context: bool = True,
        context_softmax: bool = False,
        attention: str = "product",
        **more: Any,
    ) -> None:
        super().__init__()
        self.crop_px = crop_px
        self.backbone = Pyramid(small, width, channels, source)
        self.context = ContextBlock(channels, context_softmax) if context else nn.Identity()
        self.build(hand, attention=attention, **more)

    def features(self, image: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        (first, *coarser), last = self.backbone(image)
        return [self.context(first), *coarser], last

    def conditions(self) -> dict[str, Any]:
        return {**super().conditions(), "status": RECONSTRUCTION}
