"""Feature maps of several sizes: OccRobNet's pyramid and the small decoder of kypt.

Both stand on ResNet (parts/resnet.py), so that one classifier's or `plain`'s trunk starts either.
"""

import torch
from torch import nn
from torch.nn import functional

from handbench.errors import UnknownName
from handbench.methods.parts.resnet import ResNet

SOURCES = ("pooled", "level")


class OnTrunk(nn.Module):
    """What stands on a residual network: `trunk`, and how weights get into it."""

    trunk: ResNet

    def load_trunk(self, weights: dict[str, torch.Tensor]) -> int:
        """Start the trunk from a classifier's or `plain`'s entries; returns how many there were.

        Raises RuntimeError when one is missing or has another shape.
        """
        self.trunk.load_state_dict(weights)
        return len(weights)


class Trunk(OnTrunk):
    """Images (B,3,S,S) -> the residual network's last map alone; `last` are its channels."""

    def __init__(self, small: bool = False, width: int = 64) -> None:
        super().__init__()
        self.trunk = ResNet(small, width)
        self.last = self.trunk.channels[-1]

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.trunk(image)[-1]


class Pyramid(OnTrunk):
    """Images (B,3,S,S) -> the map F, three (small: two) coarser levels, the trunk's last map.

    Feature pyramid (Lin et al. 2017) with 3x3 smoothing, C channels each. Full size: F is an eighth
    of the image, from level 2, smoothed, averaged 2 x 2 ("pooled"), or level 3 ("level"); levels
    3 to 5 are 1/8, 1/16, 1/32. small: F is 1/4, the levels 1/8 and 1/16. `channels` of F and
    levels, `stride` of F, `last` channels of the trunk.
    """

    def __init__(
        self, small: bool = False, width: int = 64, channels: int = 256, source: str = "pooled"
    ) -> None:
        super().__init__()
        if source not in SOURCES:
            raise UnknownName("source of features", source, SOURCES)
        self.trunk = ResNet(small, width)
        self.last = self.trunk.channels[-1]
        self.pooled = source == "pooled" and not small
        # the small network's first stage is at half the image: finer than any map wanted here
        self.first = 1 if small or not self.pooled else 0
        self.stride = 4 if small else 8
        sizes = self.trunk.channels[self.first :]
        self.laterals = nn.ModuleList(nn.Conv2d(size, channels, 1) for size in sizes)
        self.smooth = nn.ModuleList(nn.Conv2d(channels, channels, 3, padding=1) for _ in sizes)
        self.levels = [channels] * (4 if self.pooled or not small else 3)
        self.own = self.first == 1 and not small  # level 3 is both F and a level

    def forward(self, image: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """[F, finer to coarser levels], and the trunk's last map."""
        trunk, maps = self.trunk(image), []
        merged: torch.Tensor | None = None
        for lateral, smooth, feature in zip(
            reversed(self.laterals), reversed(self.smooth), reversed(trunk[self.first :])
        ):
            side = lateral(feature)
            if merged is not None:
                size = side.shape[2:]
                side = side + functional.interpolate(merged, size=size, mode="bilinear")
            merged = side
            maps.append(smooth(merged))
        maps.reverse()
        if self.pooled:
            maps[0] = functional.avg_pool2d(maps[0], 2)
        return ([maps[0]] if self.own else []) + maps, trunk[-1]


class SmallDecoder(OnTrunk):
    """Images (B,3,S,S) -> kypt's U-Net features, finest first, and the trunk's last map.

    Keypoint Transformer (Hampali et al. 2022) with use_big_decoder = False: four 4x4
    deconvolutions 2048-256-128-64-64, each joined with a 1x1-reduced skip (256, 128, 64, 32) by a
    3x3 unit, and the last map by a 1x1 unit to 512: 32, 64, 128, 256 and 512 channels at 1/2 to
    1/32 of the image. small: the same shape on the small trunk, whose maps are 1/2 to 1/16.
    """

    def __init__(self, small: bool = False, width: int = 64) -> None:
        super().__init__()
        self.trunk = ResNet(small, width)
        sizes = self.trunk.channels
        self.last = sizes[-1]
        self.stride = 2
        # ResNet-50 has one more map than stages: its stem, at half the image
        skips = sizes[-2::-1] if small else [*sizes[-2::-1], width]
        unit = width // 2
        outs = [unit << k for k in reversed(range(len(skips)))]
        ups = outs[:1] + [max(out, width) for out in outs[1:]] if small else [256, 128, 64, 64]
        entering = sizes[-1]
        self.up, self.skip, self.join = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for skip, up, out in zip(skips, ups, outs):
            raise_ = nn.ConvTranspose2d(entering, up, 4, 2, 1, bias=False)
            self.up.append(nn.Sequential(raise_, nn.BatchNorm2d(up), nn.ReLU()))
            self.skip.append(unit_of(skip, out, 1))
            self.join.append(unit_of(up + out, out, 3))
            entering = out
        self.bottom = unit_of(sizes[-1], 2 * outs[0], 1)
        self.levels = [*outs[::-1], 2 * outs[0]]

    def forward(self, image: torch.Tensor) -> tuple[list[torch.Tensor], torch.Tensor]:
        """[finest to coarsest], and the trunk's last map."""
        trunk = self.trunk
        stem = trunk.relu(trunk.bn1(trunk.conv1(image)))
        maps, x = [stem], trunk.pool(stem)
        for stage in range(1, 5):
            x = getattr(trunk, f"layer{stage}")(x)
            maps.append(x)
        found = [self.bottom(x)]
        for up, skip, join, feature in zip(self.up, self.skip, self.join, reversed(maps[:-1])):
            x = join(torch.cat([up(x), skip(feature)], 1))
            found.append(x)
        return found[::-1], maps[-1]


def unit_of(entering: int, leaving: int, kernel: int) -> nn.Sequential:
    """Convolution, batch norm, ReLU."""
    convolution = nn.Conv2d(entering, leaving, kernel, padding=kernel // 2, bias=False)
    return nn.Sequential(convolution, nn.BatchNorm2d(leaving), nn.ReLU())
