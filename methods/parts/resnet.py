"""Residual networks: the small one of the tiny presets and ResNet-50 (He et al. 2016).

Names of ResNet-50's entries are the usual ones (conv1, bn1, layer1.0.conv1, …), so that
public ImageNet weights fit.
"""

import torch
from torch import nn


class Basic(nn.Module):
    """Two 3x3 convolutions and a shortcut (He et al. 2016, figure 5 left)."""

    expansion = 1
    folds = (("conv1", "bn1"), ("conv2", "bn2"))

    def __init__(self, entering: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(entering, width, 3, stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3), nn.BatchNorm2d(width)
        self.downsample = shortcut(entering, width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        return self.relu(self.bn2(self.conv2(x)).add_(kept))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut (figure 5 right); the 3x3 carries the stride."""

    expansion = 4
    folds = (("conv1", "bn1"), ("conv2", "bn2"), ("conv3", "bn3"))

    def __init__(self, entering: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = conv(entering, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, 3, stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.downsample = shortcut(entering, 4 * width, stride)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        kept = x if self.downsample is None else self.downsample(x)
        x = self.relu(self.bn1(self.conv1(x)))
        x = self.relu(self.bn2(self.conv2(x)))
        return self.relu(self.bn3(self.conv3(x)).add_(kept))


class ResNet(nn.Module):
    """Four stages, each halving the map but the first; forward gives all four outputs.

    small: 3x3 stem of stride 2 without pooling, one basic block a stage, widths w, 2w, 4w, 8w:
    maps of 1/2, 1/4, 1/8 and 1/16 of the image. Otherwise ResNet-50 (width 64): 1/4 to 1/32.
    `channels` are the four outputs' channels.
    """

    folds = (("conv1", "bn1"),)

    def __init__(self, small: bool, width: int = 64) -> None:
        super().__init__()
        block, depths = (Basic, (1, 1, 1, 1)) if small else (Bottleneck, (3, 4, 6, 3))
        self.conv1 = conv(3, width, 3 if small else 7, 2)
        self.bn1, self.relu = nn.BatchNorm2d(width), nn.ReLU(inplace=True)
        self.pool = nn.Identity() if small else nn.MaxPool2d(3, 2, 1)
        self.channels: list[int] = []
        entering = width
        for stage, depth in enumerate(depths):
            leaving = width << stage
            blocks = []
            for i in range(depth):
                stride = 2 if stage and not i else 1
                blocks.append(block(entering, leaving, stride))
                entering = leaving * block.expansion
            setattr(self, f"layer{stage + 1}", nn.Sequential(*blocks))
            self.channels.append(entering)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
        x = self.pool(self.relu(self.bn1(self.conv1(image))))
        maps = []
        for stage in range(1, 5):
            x = getattr(self, f"layer{stage}")(x)
            maps.append(x)
        return maps


def conv(entering: int, leaving: int, kernel: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, bias=False)


def shortcut(entering: int, leaving: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and entering == leaving:
        return None
    return nn.Sequential(conv(entering, leaving, 1, stride), nn.BatchNorm2d(leaving))
