"""CNN + SA, OccRobNet's baseline: features of a CNN, self-attention among them, a perceptron.

The paper gives it one sentence (section IV-A); how it is built here is our reconstruction.
"""

from typing import Any

import torch
from torch import nn

from handbench.hand import Hand
from handbench.methods.parts.keypoints import centres, sine_code
from handbench.methods.parts.pose_method import RECONSTRUCTION, Batch, PoseMethod, takes
from handbench.methods.parts.product_attention import EncoderLayer, perceptron
from handbench.methods.parts.pyramid import Trunk


@takes(PoseMethod.build_pose)
class CnnSa(PoseMethod):
    """Every cell of a residual network's last map is a token; no keypoints, no queries.

    Cells get a sine code of their place; after `encoders` layers of softmax attention their mean
    goes through one hidden layer of `hidden` to what the pose is read off. small, width: the
    trunk; model_width, heads, feed, dropout: of the layers. more: options of parts.pose_method.
    """

    VARIANTS: dict[str, dict[str, Any]] = {
        "full": {},
        "2_5d": {"output": "2.5d"},
        "3d": {"output": "3d"},
        "two_hands": {"hands": 2},
    }
    CELLS = {"full": 'OccRobNet Table I, row "CNN+SA"'}
    PRETRAINED = "resnet50-19c8e357.pth"
    PRESETS: dict[str, dict[str, Any]] = {
        "paper": {},
        "tiny": {
            "crop_px": 64,
            "small": True,
            "width": 16,
            "model_width": 64,
            "heads": 4,
            "feed": 128,
            "encoders": 2,
            "dropout": 0.0,
            "hidden": 256,
            "output": "mano",
            "bins": 64,
            "decode": "mean",
            "short": True,
        },
    }

    def __init__(
        self,
        hand: Hand,
        crop_px: int = 256,
        small: bool = False,
        width: int = 64,
        model_width: int = 256,
        heads: int = 8,
        feed: int = 2048,
        encoders: int = 6,
        dropout: float = 0.1,
        hidden: int = 1024,
        **more: Any,
    ) -> None:
        super().__init__()
        self.crop_px = crop_px
        self.backbone = Trunk(small, width)
        self.build_pose(hand, model_width, self.backbone.last, **more)
        self.reduce = nn.Conv2d(self.backbone.last, model_width, 1)
        self.encoder: Any = nn.ModuleList(
            EncoderLayer(model_width, heads, feed, "softmax", dropout) for _ in range(encoders)
        )
        self.read = perceptron(model_width, hidden, self.pose.count * model_width)

    def cells(self, last: torch.Tensor) -> torch.Tensor:
        """Tokens (B,s^2,d) of the trunk's last map."""
        found = self.reduce(last)
        line = centres(found.shape[-1], found)
        grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).flatten(0, 1)
        return found.flatten(2).mT + sine_code(grid[None], found.shape[1])

    def forward(self, batch: Batch) -> Batch:
        """image (B,3,S,S) (with 2.5D also K_crop, maybe root_m) -> PoseMethod.outputs.
        Raises ShapeError."""
        self.check(batch["image"])
        last = self.backbone(batch["image"])
        x = self.cells(last)
        for layer in self.encoder:
            x = layer(x)
        decoded = self.read(x.mean(1)).unflatten(1, (self.pose.count, -1))
        return self.outputs([decoded], last, batch)

    @torch.no_grad()
    def inspect(self, batch: Batch) -> Batch:
        """backbone, the trunk's last map, and encoder_attention (B,heads,cells,cells) of the first
        layer."""
        training = self.training
        self.eval()
        last = self.backbone(batch["image"])
        x = self.cells(last)
        found = {"backbone": last, "encoder_attention": self.encoder[0].attention.weights(x, x)}
        self.train(training)
        return found

    def conditions(self) -> dict[str, Any]:
        return {**super().conditions(), "status": RECONSTRUCTION}
