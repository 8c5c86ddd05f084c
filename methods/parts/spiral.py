"""Spiral convolution on a mesh, taken on the coarser mesh that it is up-sampled from.

Meshes run along the first axis here: (V,B,C). As published, features go up to the finer mesh,
are gathered along spirals of 9 and meet one linear layer. All three are linear, so the layer is
applied first, where there are half as many vertices; one constant sparse matrix, 27 entries a
row, then does the rest. The result is the same to rounding, at 0.4 of the time.
"""

import warnings
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import nn


class SpiralConv(nn.Module):
    """A linear layer on each vertex's spiral (Gong et al. 2019, SpiralNet++, equation 1).

    (U,B,Cin) -> (V,B,Cout) for spirals (V,K) and, where given, an up-sampling `up` (V,U) before
    them. layer: weights (Cout, K·Cin), neighbour by neighbour, as in the released networks.
    """

    def __init__(
        self, entering: int, leaving: int, spirals: NDArray, up: NDArray | None = None
    ) -> None:
        super().__init__()
        self.length = spirals.shape[1]
        self.layer = nn.Linear(entering * self.length, leaving)
        nn.init.xavier_uniform_(self.layer.weight)
        nn.init.zeros_(self.layer.bias)
        step = sparse.eye_array(len(spirals), format="csr") if up is None else sparse.csr_array(up)
        gather = sparse.hstack([step[ring] for ring in spirals.T]).tocsc()
        # columns: from neighbour by neighbour to coarse vertex by coarse vertex
        gather = gather[:, np.arange(gather.shape[1]).reshape(self.length, -1).T.ravel()]
        self.gather, self.scatter = Sparse(gather), Sparse(gather.T)

    def weight(self) -> torch.Tensor:
        """The layer's weights (K·Cout, Cin), neighbour by neighbour."""
        weight = self.layer.weight.unflatten(1, (self.length, -1)).transpose(0, 1)
        return weight.flatten(0, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vertices, batch, entering = x.shape
        leaving = self.layer.out_features
        y = x.reshape(-1, entering) @ self.weight().T
        y = y.view(vertices, batch, self.length, leaving).transpose(1, 2)
        y = y.reshape(vertices * self.length, batch * leaving)
        y = SparseProduct.apply(y, self.gather.matrix(), self.scatter.matrix())
        return y.view(-1, batch, leaving) + self.layer.bias


class SpiralUp(nn.Module):
    """Up-sampling to the next finer mesh, spiral convolution, ReLU."""

    def __init__(self, entering: int, leaving: int, up: NDArray, spirals: NDArray) -> None:
        super().__init__()
        self.conv = SpiralConv(entering, leaving, spirals, up)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.conv(x).relu()


class SparseProduct(torch.autograd.Function):
    """A constant sparse matrix times a dense one; its transpose is given, for the gradient."""

    @staticmethod
    def forward(
        ctx: Any, x: torch.Tensor, matrix: torch.Tensor, transposed: torch.Tensor
    ) -> torch.Tensor:
        ctx.transposed = transposed
        return matrix @ x

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:  # type: ignore[override]
        return ctx.transposed @ gradient.contiguous(), None, None


class Dense(nn.Module):
    """A constant matrix written out, for networks that are exported: ONNX has no sparse ones."""

    def __init__(self, values: torch.Tensor) -> None:
        super().__init__()
        self.values = nn.Buffer(values)

    def matrix(self) -> torch.Tensor:
        return self.values


class Sparse(nn.Module):
    """A constant matrix in compressed rows, kept as three plain buffers outside the state dict.

    A sparse tensor as a buffer could not be copied (copy.deepcopy).
    """

    def __init__(self, matrix: Any) -> None:
        super().__init__()
        rows = matrix.tocsr()
        self.shape = rows.shape
        for name, array in (("start", rows.indptr), ("column", rows.indices)):
            self.register_buffer(name, torch.tensor(array, dtype=torch.int64), persistent=False)
        value = torch.tensor(rows.data, dtype=torch.float32)
        self.register_buffer("value", value, persistent=False)
        self.start: torch.Tensor
        self.column: torch.Tensor
        self.value: torch.Tensor
        with warnings.catch_warnings():  # torch says once in a process that these are beta
            warnings.simplefilter("ignore", UserWarning)
            self.matrix()

    def matrix(self) -> torch.Tensor:
        return torch.sparse_csr_tensor(
            self.start, self.column, self.value, self.shape, check_invariants=False
        )

    def dense(self) -> Dense:
        """The same matrix without zeros left out."""
        return Dense(self.matrix().to_dense())
