"""Depthwise building blocks of MobRecon's DenseStack, the backbone of H2ONet.

After Chen et al. 2022 (MobRecon, section 3.1) and its code, which H2ONet kept. The names of
children are those of the released weights.
"""

import torch
from torch import nn


def conv_unit(
    entering: int, leaving: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Sequential:
    """Convolution without bias, batch norm, ReLU."""
    return nn.Sequential(
        nn.Conv2d(entering, leaving, kernel, stride, kernel // 2, groups=groups, bias=False),
        nn.BatchNorm2d(leaving),
        nn.ReLU(inplace=True),
    )


def linear_unit(
    entering: int, leaving: int, norm: bool = False, clip: bool = True
) -> nn.Sequential:
    """Linear layer without bias; then batch norm where asked, then a clip to 0..4 for a ReLU."""
    layers: list[nn.Module] = [nn.Linear(entering, leaving, bias=False)]
    if norm:
        layers.append(nn.BatchNorm1d(leaving))
    if clip:
        layers.append(nn.Hardtanh(0.0, 4.0))
    return nn.Sequential(*layers)


class MobileUnit(nn.Module):
    """`deep` depthwise 3x3 units, then a 1x1 unit; a residual where the channels allow it."""

    def __init__(self, entering: int, leaving: int, deep: int = 1) -> None:
        super().__init__()
        self.residual = entering == leaving
        self.conv3x3 = nn.Sequential(
            *(conv_unit(entering, entering, 3, groups=entering) for _ in range(deep))
        )
        self.conv1x1 = conv_unit(entering, leaving)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.conv1x1(self.conv3x3(x))
        return out + x if self.residual else out


class SqueezeExcite(nn.Module):
    """Channel gates from the global average (Hu et al. 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = min(channels // 2, 256)
        self.fc1 = linear_unit(channels, hidden, norm=True)
        self.fc2 = linear_unit(hidden, channels, norm=True, clip=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gates = self.fc2(self.fc1(x.mean((2, 3)))).sigmoid()
        return x * gates[:, :, None, None]


class Dense(nn.Module):
    """Mobile units that each see everything before them; C -> 2C channels by default.

    growth: what each unit adds. keep_input: whether the output begins with the input.
    """

    def __init__(self, channels: int, growth: list[int], keep_input: bool = True) -> None:
        super().__init__()
        self.keep_input = keep_input
        self.count = len(growth)
        for i, added in enumerate(growth):
            setattr(self, f"conv{i + 1}", MobileUnit(channels, added))
            channels += added

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        known = [x]
        for i in range(self.count):
            known.append(getattr(self, f"conv{i + 1}")(torch.cat(known, 1)))
        return torch.cat(known if self.keep_input else known[1:], 1)


def dense(channels: int, units: int) -> Dense:
    """C -> 2C in equal shares."""
    return Dense(channels, [channels // units] * units)


def bottleneck(channels: int) -> Dense:
    """C -> C: two units of 3/4 and 1/4, the input left out."""
    return Dense(channels, [channels * 3 // 4, channels // 4], keep_input=False)


def shrink(entering: int, middle: int, leaving: int) -> nn.Sequential:
    return nn.Sequential(MobileUnit(entering, middle), MobileUnit(middle, leaving, deep=2))
