"""The trunk that HandOccNet and HandGCAT share: a leaky residual network and a feature pyramid.

Names of entries are those of the released weights.
"""

import torch
from torch import nn
from torch.nn import functional

from handbench.methods.parts.folding import fold_mean
from handbench.methods.parts.resnet import Basic, Bottleneck, ResNet

SLOPE = 0.01  # of the LeakyReLU that stands for every ReLU of the residual network


class SpatialGate(nn.Module):
    """A map 0..1 of where to look: channel maximum and mean, one 7x7 convolution, batch norm.

    CBAM's spatial gate (Woo et al. 2018, section 3.2); entries `spatial.conv`, `spatial.bn`.
    """

    def __init__(self) -> None:
        super().__init__()
        self.spatial = nn.ModuleDict(
            {
                "conv": nn.Conv2d(2, 1, 7, padding=3, bias=False),
                "bn": nn.BatchNorm2d(1, momentum=0.01),
            }
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B,C,s,s) -> gate (B,1,s,s)."""
        both = torch.stack([x.amax(1), x.mean(1)], 1)
        return torch.sigmoid(self.spatial["bn"](self.spatial["conv"](both)))


class ResNetFPN(nn.Module):
    """Images (B,3,S,S) -> features (B,channels,s,s).

    Published (HandOccNet section 3.1): ResNet-50, three lateral steps down to a quarter of the
    image, smoothed and pooled to an eighth. small: the residual network of the tiny presets
    and `laterals` steps, without pooling (one step: an eighth of the image).
    `attention_module` is HandOccNet's gate; HandGCAT's weights hold it too and never call it.
    """

    def __init__(
        self, small: bool = False, width: int = 64, channels: int = 256, laterals: int = 3
    ) -> None:
        super().__init__()
        trunk = ResNet(small, width)
        for block in trunk.modules():
            if isinstance(block, Basic | Bottleneck):
                block.add_module("relu", nn.LeakyReLU(SLOPE, inplace=True))
        stem = trunk.conv1, trunk.bn1, nn.LeakyReLU(SLOPE, inplace=True), trunk.pool
        self.layer0 = nn.Sequential(*stem)
        for stage in range(1, 5):
            setattr(self, f"layer{stage}", nn.Sequential(getattr(trunk, f"layer{stage}")))
        sizes = trunk.channels[::-1]
        self.toplayer = nn.Conv2d(sizes[0], channels, 1)
        self.laterals = laterals
        for step in range(1, laterals + 1):
            setattr(self, f"latlayer{step}", nn.Conv2d(sizes[step], channels, 1))
        if not small:
            self.smooth2 = nn.Conv2d(channels, channels, 3, padding=1)  # in the weights, not used
        self.smooth3 = nn.Conv2d(channels, channels, 3, padding=1)
        self.pool: nn.Module = nn.Identity() if small else nn.AvgPool2d(2)
        self.attention_module = SpatialGate()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        maps = [self.layer0(image)]
        for stage in range(1, 5):
            maps.append(getattr(self, f"layer{stage}")(maps[-1]))
        x = self.toplayer(maps[-1])
        for step in range(1, self.laterals + 1):
            lateral = getattr(self, f"latlayer{step}")(maps[-1 - step])
            raised = functional.interpolate(x, size=lateral.shape[2:], mode="bilinear")
            x = raised + lateral
        return self.pool(self.smooth3(x))

    def fold(self) -> None:
        """Leave out the smoothing without use; the other one and its pooling become one layer."""
        if hasattr(self, "smooth2"):
            del self.smooth2
            self.smooth3, self.pool = fold_mean(self.smooth3), nn.Identity()

    def load_trunk(self, weights: dict[str, torch.Tensor]) -> int:
        """Start the residual network from a classifier's or `plain`'s (conv1, layer1.0.conv1, …).

        Returns how many entries were taken; the pyramid stays as it is.
        Raises RuntimeError when one of the network's entries is missing or has another shape.
        """
        named = {"conv1": "layer0.0", "bn1": "layer0.1"}
        renamed = {}
        for name, value in weights.items():
            first, _, rest = name.partition(".")
            if first in named:
                renamed[f"{named[first]}.{rest}"] = value
            elif first.startswith("layer"):
                renamed[f"{first}.0.{rest}"] = value
        for name in self.state_dict():
            wanted = name.startswith("layer") and not name.endswith("num_batches_tracked")
            if wanted and name not in renamed:
                raise RuntimeError(f"no entry for {name}")
        self.load_state_dict({**self.state_dict(), **renamed})
        return len(renamed)
