"""OccRobNet's contextual information enhancement transformer (CIET, section III-B).

After the contextual transformer (Li et al. 2022, CoTNet), whose forms fill in what the paper
leaves open: choices 11 to 17 of docs/methods/occrobnet.md.
"""

import torch
from torch import nn
from torch.nn import functional

from handbench.errors import HandbenchError

TAPS = 9  # of a 3 x 3 neighbourhood
SHARE = 8  # channels that use one attention map


class ContextBlock(nn.Module):
    """Features (B,C,s,s) -> static and dynamic context, fused and added to them, same shape.

    Static: a 3x3 convolution of the keys. Dynamic: attention over each cell's 3x3 neighbours, from
    static context and query by two 1x1 convolutions (equation 1), applied to the values
    (equation 2). softmax: of the attention over the nine taps, which the text names and equation 1
    has not. Raises HandbenchError unless C is a multiple of 8.
    """

    def __init__(self, channels: int, softmax: bool = False) -> None:
        super().__init__()
        if channels % SHARE:
            raise HandbenchError(f"a context block takes a multiple of {SHARE}, not {channels}")
        half, maps = channels // 2, channels // SHARE
        self.softmax = softmax
        self.static = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1, groups=4, bias=False),
            nn.BatchNorm2d(channels),
            nn.ReLU(),
        )
        self.theta = nn.Sequential(
            nn.Conv2d(2 * channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU()
        )
        self.delta = nn.Sequential(nn.Conv2d(half, TAPS * maps, 1), nn.GroupNorm(maps, TAPS * maps))
        self.value = nn.Sequential(
            nn.Conv2d(channels, channels, 1, bias=False), nn.BatchNorm2d(channels)
        )
        self.dynamic = nn.Sequential(nn.BatchNorm2d(channels), nn.SiLU())
        self.squeeze = nn.Sequential(nn.Conv2d(channels, half, 1), nn.BatchNorm2d(half), nn.ReLU())
        self.choose = nn.Conv2d(half, 2 * channels, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        static = self.static(x)
        dynamic = self.dynamic(local_product(self.attention(x, static), self.value(x)))
        pooled = (static + dynamic).mean((2, 3), keepdim=True)
        shares = self.choose(self.squeeze(pooled)).unflatten(1, (-1, 2)).softmax(2)
        return x + static * shares[:, :, 0] + dynamic * shares[:, :, 1]

    def attention(self, x: torch.Tensor, static: torch.Tensor) -> torch.Tensor:
        """Weights of each cell's neighbours, (B,C/8,9,s,s), taps row by row."""
        weights = self.delta(self.theta(torch.cat([x, static], 1))).unflatten(1, (-1, TAPS))
        return weights.softmax(2) if self.softmax else weights


def local_product(weights: torch.Tensor, values: torch.Tensor) -> torch.Tensor:
    """Each cell's weighted sum of its 3x3 neighbours: weights (B,m,9,s,s), values (B,C,s,s).

    Channel c uses the weights c mod m; beyond the border values are 0.
    """
    maps, (height, width) = weights.shape[1], values.shape[2:]
    padded = functional.pad(values, (1, 1, 1, 1)).unflatten(1, (-1, maps))
    total = torch.zeros((), dtype=values.dtype, device=values.device)
    for tap in range(TAPS):
        row, column = divmod(tap, 3)
        shifted = padded[..., row : row + height, column : column + width]
        total = total + weights[:, None, :, tap] * shifted
    return total.flatten(1, 2)
