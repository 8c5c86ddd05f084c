"""H2ONet's orientation head: one global rotation from the sum of two encoders' maps."""

import torch
from torch import nn


def mlp(*widths: int) -> nn.Sequential:
    """Linear layers with ReLU between them, none after the last."""
    layers: list[nn.Module] = []
    for entering, leaving in zip(widths, widths[1:]):
        layers += [nn.Linear(entering, leaving), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


class OrientationHead(nn.Module):
    """Maps (B,C,s,s) -> feature (B,hidden) -> 6D rotation (B,6).

    hidden: 1024 as published; layers: hidden ones behind the feature, 3 as published. offset: with
    a second branch that corrects the rotation by a feature of another frame (equation 7); the
    first branch then has the name that it has in the released multi-frame weights. Weights start
    Kaiming-uniform and biases zero, as the authors start them. H2ONet section 3.3; layer sizes
    from its code.
    """

    def __init__(
        self, channels: int, cells: int, hidden: int = 1024, layers: int = 3, offset: bool = False
    ) -> None:
        super().__init__()
        self.offset = offset
        self.conv_block = nn.Sequential(
            nn.Conv1d(channels, channels // 2, 1),
            nn.ReLU(),
            nn.Conv1d(channels // 2, channels // 4, 1),
            nn.ReLU(),
        )
        flat = channels // 4 * cells
        self.pre_block = nn.Sequential(
            nn.Linear(flat, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, hidden), nn.ReLU()
        )
        inner = (hidden, hidden // 2, hidden // 4)[:layers]
        if offset:
            self.fc_block1 = mlp(hidden, *inner, 6)
            self.fc_block2 = mlp(2 * hidden, *inner, 6)
        else:
            self.fc_block = mlp(hidden, *inner, 6)
        start_kaiming(self)

    def feature(self, maps: torch.Tensor) -> torch.Tensor:
        return self.pre_block(self.conv_block(maps.flatten(2)).flatten(1))

    def turn(self, feature: torch.Tensor) -> torch.Tensor:
        """Feature (B,hidden) -> 6D rotation (B,6)."""
        return self.fc_block1(feature) if self.offset else self.fc_block(feature)

    def correct(self, current: torch.Tensor, chosen: torch.Tensor) -> torch.Tensor:
        """Features (B,hidden) of the current and of the chosen frame -> 6D correction (B,6)."""
        return self.fc_block2(torch.cat([current, chosen], 1))


def start_kaiming(module: nn.Module) -> None:
    """Kaiming-uniform weights for ReLU and zero biases, in every layer with weights."""
    for layer in module.modules():
        if isinstance(layer, nn.Linear | nn.Conv1d):
            nn.init.kaiming_uniform_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
