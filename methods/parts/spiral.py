"""Spiral convolution on a mesh and the way from a coarse mesh to a finer one."""

import numpy as np
import torch
from torch import nn


class SpiralConv(nn.Module):
    """A linear layer on each vertex's spiral of 9, concatenated vertex by vertex.

    (B,V,Cin) -> (B,V,Cout). Gong et al. 2019 (SpiralNet++), equation 1.
    """

    def __init__(self, entering: int, leaving: int, spirals: np.ndarray) -> None:
        super().__init__()
        self.length = spirals.shape[1]
        self.layer = nn.Linear(entering * self.length, leaving)
        nn.init.xavier_uniform_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        index = torch.tensor(spirals.ravel(), dtype=torch.int64)
        self.register_buffer("index", index, persistent=False)
        self.index: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        gathered = x.index_select(1, self.index)
        return self.layer(gathered.view(len(x), -1, self.length * x.shape[2]))


class SpiralUp(nn.Module):
    """Up-sampling to the next finer mesh, spiral convolution, ReLU."""

    def __init__(
        self, entering: int, leaving: int, matrix: np.ndarray, spirals: np.ndarray
    ) -> None:
        super().__init__()
        self.conv = SpiralConv(entering, leaving, spirals)
        up = torch.tensor(matrix, dtype=torch.float32)
        self.register_buffer("up", up, persistent=False)
        self.up: torch.Tensor

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(self.up @ x).relu_()
