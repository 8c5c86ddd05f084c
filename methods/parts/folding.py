"""Batch norms folded into the layers before them, for networks that are only asked.

In test mode a batch norm is a scale and a shift of each channel, which the convolution or linear
layer before it can do itself. Products are taken in float64, so that outputs differ by rounding.
"""

from collections.abc import Iterator

import torch
from torch import nn
from torch.nn import functional

from handbench.errors import HandbenchError

LAYERS = (nn.Conv2d, nn.Linear)
NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)


def fold(module: nn.Module) -> nn.Module:
    """Fold every batch norm that follows a convolution or linear layer, in place; returns module.

    Found are neighbours in an nn.Sequential, and what a module names itself: `folds`, pairs of
    names of its own children (layer, norm); children that are lists are paired item by item. A
    folded norm becomes nn.Identity; what follows no layer stays a norm. Raises HandbenchError
    when the module is in training mode, whose norms are not fixed.
    """
    if module.training:
        raise HandbenchError("only a network in test mode can be folded: call eval() first")
    for part in list(module.modules()):
        for names, layer, norm in _pairs(part):
            owner = part.get_submodule(names[0]) if len(names) > 1 else part
            fold_pair(layer, norm)
            setattr(owner, names[-1], nn.Identity())
    return module


def _pairs(part: nn.Module) -> Iterator[tuple[tuple[str, ...], nn.Module, nn.Module]]:
    """(path of the norm, layer, norm) of one module."""
    children = dict(part.named_children())
    named = [*zip(children, [*children][1:])] if isinstance(part, nn.Sequential) else []
    for first, second in [*named, *getattr(part, "folds", ())]:
        layer, norm = children[first], children[second]
        if isinstance(layer, nn.ModuleList):
            assert isinstance(norm, nn.ModuleList)
            for i, (one, other) in enumerate(zip(layer, norm)):
                if isinstance(one, LAYERS) and isinstance(other, NORMS):
                    yield (second, str(i)), one, other
        elif isinstance(layer, LAYERS) and isinstance(norm, NORMS):
            yield (second,), layer, norm


@torch.no_grad()
def fold_pair(layer: nn.Module, norm: nn.Module) -> None:
    """layer becomes norm(layer(·)); both in test mode."""
    scale, shift = affine(norm)
    weight: torch.Tensor = layer.weight  # type: ignore[assignment]
    bias: torch.Tensor | None = layer.bias  # type: ignore[assignment]
    moved = shift if bias is None else shift + scale * bias.double()
    shape = -1, *[1] * (weight.dim() - 1)
    layer.weight = nn.Parameter((weight.double() * scale.view(shape)).to(weight), False)
    layer.bias = nn.Parameter(moved.to(weight), False)


def affine(norm: nn.Module) -> tuple[torch.Tensor, torch.Tensor]:
    """A batch norm in test mode as scale (C,) and shift (C,), float64."""
    assert isinstance(norm, NORMS) and norm.running_var is not None
    assert norm.running_mean is not None
    scale = (norm.running_var.double() + norm.eps).rsqrt()
    if norm.affine:
        scale = scale * norm.weight.double()
    shift = -norm.running_mean.double() * scale
    return scale, shift + norm.bias.double() if norm.affine else shift


class Product(nn.Module):
    """A 1x1 convolution as one matrix product, on maps with channels last in memory.

    At small batches torch's convolution copies the map first; a linear layer takes it as it is.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = nn.Buffer(conv.weight.detach().flatten(1).contiguous())
        self.bias = None if conv.bias is None else nn.Buffer(conv.bias.detach().clone())
        self.stride = conv.stride[0]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        last = x[:, :, :: self.stride, :: self.stride].permute(0, 2, 3, 1)
        # one product of all cells: torch would else take one a row where the memory has gaps
        out = functional.linear(last.reshape(-1, last.shape[3]), self.weight, self.bias)
        return out.view(*last.shape[:3], -1).permute(0, 3, 1, 2)


def use_products(module: nn.Module) -> nn.Module:
    """Put a Product in place of every 1x1 convolution inside module; returns module."""
    for part in list(module.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, nn.Conv2d) and child.kernel_size == (1, 1) and child.groups == 1:
                setattr(part, name, Product(child))
    return module


@torch.no_grad()
def fold_mean(conv: nn.Conv2d) -> nn.Conv2d:
    """A 3x3 convolution (padding 1, stride 1) and the 2x2 mean of its output, as one 4x4
    convolution of stride 2: less than half of the products."""
    weight = conv.weight.double()
    moved = [functional.pad(weight, (b, 1 - b, a, 1 - a)) for a in (0, 1) for b in (0, 1)]
    wide = torch.stack(moved).mean(0)
    one = nn.Conv2d(conv.in_channels, conv.out_channels, 4, 2, 1, bias=conv.bias is not None)
    one.weight = nn.Parameter(wide.to(conv.weight), False)
    one.bias = conv.bias
    return one.eval()
