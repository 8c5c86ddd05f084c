"""The blocks of mobile.py and dense_stack.py as they are asked: batch norms folded, in place.

All maps have channels last in memory, so that a 1x1 convolution is one product of all cells. At a
batch of one, half of the time of these networks of small layers is the calls themselves.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from handbench.methods.parts.dense_stack import DenseStack
from handbench.methods.parts.mobile import Dense, MobileUnit, SqueezeExcite


class Unit(nn.Module):
    """A MobileUnit whose norms are folded."""

    def __init__(self, unit: MobileUnit) -> None:
        super().__init__()
        self.residual, self.deep = unit.residual, len(unit.conv3x3)
        depthwise: Any = unit.conv3x3
        pointwise: Any = unit.conv1x1[0]
        for i, layers in enumerate(depthwise):
            self.register_buffer(f"depth{i}", layers[0].weight)
            self.register_buffer(f"shift{i}", layers[0].bias)
        self.weight = nn.Buffer(pointwise.weight.flatten(1).T.contiguous())
        self.bias = nn.Buffer(pointwise.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        batch, channels, height, width = x.shape
        y = x
        for i in range(self.deep):
            depth, shift = getattr(self, f"depth{i}"), getattr(self, f"shift{i}")
            y = functional.conv2d(y, depth, shift, padding=1, groups=channels).relu_()
        cells = y.permute(0, 2, 3, 1).reshape(-1, channels)
        out = torch.addmm(self.bias, cells, self.weight).relu_()
        out = out.view(batch, height, width, -1).permute(0, 3, 1, 2)
        return out.add_(x) if self.residual else out


class Gate(nn.Module):
    """A SqueezeExcite whose norms are folded; changes its argument."""

    def __init__(self, gate: SqueezeExcite) -> None:
        super().__init__()
        first: Any = gate.fc1[0]
        second: Any = gate.fc2[0]
        self.weight1 = nn.Buffer(first.weight.T.contiguous())
        self.weight2 = nn.Buffer(second.weight.T.contiguous())
        self.bias1, self.bias2 = nn.Buffer(first.bias), nn.Buffer(second.bias)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = torch.addmm(self.bias1, x.mean((2, 3)), self.weight1).clamp_(0, 4)
        gates = torch.addmm(self.bias2, hidden, self.weight2).sigmoid_()
        return x.mul_(gates[:, :, None, None])


class Halved(nn.Module):
    """Dense block, gate and 2x2 mean; the mean first, which the gate does not change."""

    def __init__(self, dense: Dense, gate: Gate | None) -> None:
        super().__init__()
        self.units = nn.ModuleList(dense.children())
        self.gate = gate

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        known = [x]
        for unit in self.units:
            known.append(unit(torch.cat(known, 1) if len(known) > 1 else x))
        half = torch.cat([functional.avg_pool2d(each, 2) for each in known], 1)
        return self.gate(half) if self.gate is not None else half


class Stack(nn.Module):
    """A DenseStack whose units and gates are Unit and Gate."""

    def __init__(self, stack: DenseStack) -> None:
        super().__init__()
        gates: Any = stack.senet1, stack.senet2, stack.senet3 if stack.deep else None
        blocks = stack.dense1, stack.dense2, stack.dense3
        self.down = nn.ModuleList(Halved(*pair) for pair in zip(blocks, gates))
        self.low = nn.Sequential(*((stack.dense4, stack.dense5) if stack.deep else ()))
        self.up = nn.ModuleList()
        if stack.up:
            steps = (
                (stack.thrink1, stack.senet4),
                (stack.thrink2, stack.senet5),
                (stack.thrink3, stack.senet6),
            )
            self.up.extend(nn.Sequential(*step) for step in steps)

    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        d1 = self.down[0](x)
        d2 = self.down[1](d1)
        low = self.low(self.down[2](d2))
        if not self.up:
            return low, None
        x = functional.interpolate(self.up[0](low), scale_factor=2.0).add_(d2)
        x = functional.interpolate(self.up[1](x), scale_factor=2.0).add_(d1)
        return low, self.up[2](x)


def quicken(module: nn.Module) -> None:
    """Put these in place of their slower likes inside a module whose norms are folded."""
    table: Any = ((MobileUnit, Unit), (SqueezeExcite, Gate), (DenseStack, Stack))
    for slow, quick in table:
        for part in list(module.modules()):
            for name, child in list(part.named_children()):
                if isinstance(child, slow):
                    setattr(part, name, quick(child))
