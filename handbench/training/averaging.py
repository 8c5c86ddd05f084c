"""Exponential moving average of a method's weights (Polyak and Juditsky 1992)."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


class Average:
    """average <- decay average + (1 - decay) weights after every step.

    Early on the decay is smaller, (1 + step) / (10 + step), so that the random start is
    forgotten. Trained parameters are averaged; running statistics are the method's own.
    """

    def __init__(self, method: nn.Module, decay: float) -> None:
        self.decay = decay
        self.weights = {
            name: value.detach() for name, value in method.named_parameters() if value.requires_grad
        }
        self.values = {name: value.clone() for name, value in self.weights.items()}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """step: how many steps have been taken, those that were skipped among them."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_([*self.values.values()], [*self.weights.values()], share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """The method with averaged weights, inside the block."""
        self._swap()
        try:
            yield
        finally:
            self._swap()

    @torch.no_grad()
    def _swap(self) -> None:
        for name, value in self.values.items():
            kept = value.clone()
            value.copy_(self.weights[name])
            self.weights[name].copy_(kept)

    @torch.no_grad()
    def load(self, values: dict[str, torch.Tensor]) -> None:
        for name, value in values.items():
            self.values[name].copy_(value)
