"""Batch norms folded into the layers before them, for networks that are only asked.

In test mode a batch norm is a scale and a shift of each channel, which the convolution or linear
layer before it can do itself. Products are taken in float64, so that outputs differ by rounding.
"""

from collections.abc import Iterator

import torch
from torch import nn

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
