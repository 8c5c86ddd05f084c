"""Batch norm over several processes: each its own, one over all, or none that moves.

Each its own is what the published networks were trained with; statistics that are stored are then
those of the first process.
"""

from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from handbench.training.distributed import team


def hold(method: nn.Module, kind: str) -> None:
    """Puts a method in training mode, its norms as the kind (recipe.NORMS) wants them.

    frozen: running statistics are used and stay; scales and shifts are still trained.
    """
    method.train()
    if kind == "frozen":
        for module in method.modules():
            if isinstance(module, _BatchNorm):
                module.eval()


def synchronise(method: nn.Module) -> None:
    """Lets every batch norm take mean and variance over the batches of all processes."""
    if team().size == 1:
        return
    for module in method.modules():
        if isinstance(module, _BatchNorm):
            module.__class__ = _shared(type(module))


def _shared(kind: type) -> type:
    """A batch norm of a kind that is synchronised; on CPUs too, where torch's own is not."""
    return type(f"Shared{kind.__name__}", (_Shared, kind), {})


class _Total(torch.autograd.Function):
    """The sum over processes, whose gradient is the sum of theirs."""

    @staticmethod
    def forward(ctx: Any, value: torch.Tensor) -> torch.Tensor:
        return team().total(value.clone())

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return team().total(gradients[0].clone())


class _Shared(_BatchNorm):
    def forward(self, input: torch.Tensor) -> torch.Tensor:
        if not self.training:
            return super().forward(input)
        axes = [0, *range(2, input.ndim)]
        shape = [1, -1, *[1] * (input.ndim - 2)]
        values = input.float()
        count = values.numel() / values.shape[1] * team().size
        mean = _Total.apply(values.sum(axes)) / count
        away = values - mean.view(shape)
        variance = _Total.apply(away.square().sum(axes)) / count
        self._note(mean.detach(), variance.detach() * count / (count - 1))
        scale = (variance + self.eps).rsqrt()
        if self.affine:
            scale = scale * self.weight
        out = away * scale.view(shape)
        return (out + self.bias.view(shape) if self.affine else out).to(input.dtype)

    @torch.no_grad()
    def _note(self, mean: torch.Tensor, variance: torch.Tensor) -> None:
        if self.running_mean is None or self.running_var is None:
            return
        assert self.num_batches_tracked is not None
        self.num_batches_tracked.add_(1)
        share: Any = self.momentum
        share = 1 / float(self.num_batches_tracked) if share is None else share
        self.running_mean.lerp_(mean.to(self.running_mean.dtype), share)
        self.running_var.lerp_(variance.to(self.running_var.dtype), share)
