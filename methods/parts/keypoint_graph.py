"""2D joints lifted to maps by Chebyshev graph convolutions (HandGCAT section 3.2, KGC)."""

import copy
from typing import Any

import torch
from torch import nn

from handbench.errors import UnknownName
from handbench.methods.parts.folding import affine, fold

JOINTS = 21
BONES = [(0, 4 * f + 1) for f in range(5)] + [
    (4 * f + i, 4 * f + i + 1) for f in range(5) for i in (1, 2, 3)
]
# joints of one level on neighbouring fingers, the thumb with the index finger
ACROSS = [(4 * f + i, 4 * f + i + 4) for f in range(4) for i in (1, 2, 3, 4)]
ADJACENCIES = ("released", "skeleton", "shuffled")


def laplacian(adjacency: str = "released", rescale: bool = False) -> torch.Tensor:
    """The normalised graph Laplacian (21,21) float64, I - D^-1/2 A D^-1/2.

    released: bones, links across fingers and a loop at each joint; skeleton: bones alone, as the
    paper has it; shuffled: the released graph on joints in a fixed random order, a control that
    keeps everything but which joint is linked with which. rescale: to eigenvalues -1..1, as in
    the paper's equation 1. Raises UnknownName.
    """
    if adjacency not in ADJACENCIES:
        raise UnknownName("adjacency", adjacency, ADJACENCIES)
    edges = BONES if adjacency == "skeleton" else BONES + ACROSS
    links = torch.zeros(JOINTS, JOINTS, dtype=torch.float64)
    for a, b in edges:
        links[a, b] = links[b, a] = 1
    if adjacency != "skeleton":
        links += torch.eye(JOINTS)
    if adjacency == "shuffled":
        order = torch.randperm(JOINTS, generator=torch.Generator().manual_seed(0))
        links = links[order][:, order]
    scale = links.sum(1).rsqrt()
    result = torch.eye(JOINTS, dtype=torch.float64) - scale[:, None] * links * scale
    if rescale:
        result = 2 * result / torch.linalg.eigvalsh(result)[-1] - torch.eye(JOINTS)
    return result


class KeypointGraph(nn.Module):
    """Joints (B,21,2) -> maps (B,21,s,s): each layer a Chebyshev expansion, linear, batch norm.

    layers: 4 goes 2 - s^2 - 2 s^2 - 2 s^2 - s^2, others alike. order: terms of the expansion;
    with the released 1 that is the joint itself: no joint hears of another and, since there is
    no activation either, the whole is one affine map of (x, y), the same for all joints.
    activation: ReLU between layers. adjacency, rescale: see laplacian.
    """

    folds = (("cl", "bn"),)

    def __init__(
        self,
        side: int = 32,
        layers: int = 4,
        order: int = 1,
        adjacency: str = "released",
        rescale: bool = False,
        activation: bool = False,
    ) -> None:
        super().__init__()
        area = side**2
        hidden = [area, *[2 * area] * (layers - 2)] if layers > 1 else []
        widths = [2, *hidden, area]
        self.side, self.order, self.activation = side, order, activation
        self.cl = nn.ModuleList(nn.Linear(order * a, b) for a, b in zip(widths, widths[1:]))
        self.bn = nn.ModuleList(nn.BatchNorm1d(width) for width in widths[1:])
        self.register_buffer("laplacian", laplacian(adjacency, rescale).float(), persistent=False)
        self.laplacian: torch.Tensor

    def forward(self, joints: torch.Tensor) -> torch.Tensor:
        x = joints
        for i, (linear, norm) in enumerate(zip(self.cl, self.bn)):
            if i and self.activation:
                x = x.relu()
            x = linear(self.expand(x))
            x = norm(x.flatten(0, 1)).view_as(x)
        return x.unflatten(2, (self.side, self.side))

    @torch.no_grad()
    def folded(self) -> nn.Module:
        """The same in test mode: where no joint hears of another and there is no activation, one
        linear layer, multiplied out in float64; else a copy with its norms folded."""
        if self.order > 1 or self.activation:
            return fold(copy.deepcopy(self))
        layers: list[Any] = [*self.cl]
        first = layers[0].weight
        weight = torch.eye(2, dtype=torch.float64, device=first.device)
        bias = weight.new_zeros(2)
        for linear, norm in zip(layers, self.bn):
            scale, shift = affine(norm)
            matrix = scale[:, None] * linear.weight.double()
            bias = matrix @ bias + scale * linear.bias.double() + shift
            weight = matrix @ weight
        whole = nn.Linear(*weight.shape[::-1]).to(first).requires_grad_(False)
        whole.weight.copy_(weight)
        whole.bias.copy_(bias)
        return nn.Sequential(whole, nn.Unflatten(2, (self.side, self.side)))

    def expand(self, x: torch.Tensor) -> torch.Tensor:
        """Features (B,21,F) -> (B,21,F*order): per feature the Chebyshev polynomials of L on it."""
        if self.order == 1:
            return x
        terms = [x, self.laplacian @ x]
        while len(terms) < self.order:
            terms.append(2 * self.laplacian @ terms[-1] - terms[-2])
        return torch.stack(terms, -1).flatten(2)
