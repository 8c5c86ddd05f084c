"""H2ONet as it is asked, not trained: the same function with fewer and larger operations."""

import copy
from typing import Any, TypeVar

import torch
from torch import nn
from torch.nn import functional

from handbench.methods.parts.folding import fold, use_products
from handbench.methods.parts.mobile_fast import quicken
from handbench.methods.parts.spiral import SpiralConv

PORTION = 8  # pictures
Network = TypeVar("Network", bound=nn.Module)


@torch.no_grad()
def fast(method: Network) -> Network:
    """A copy in test mode whose outputs differ by rounding, on maps with channels last in memory.

    Batch norms go into the layers before them, 1x1 convolutions are matrix products, and
    space-to-depth with the 1x1 convolution behind it is one 2x2 convolution of stride 2. Spiral
    weights stand as the product wants them; what is never called is left out.
    """
    made: Any = copy.deepcopy(method).eval().requires_grad_(False)
    fold(made)
    backbone = made.backbone
    backbone.thrink[0] = unshuffled(backbone.thrink[0], backbone.reorg.downscale_factor)
    backbone.reorg = nn.Identity()
    quicken(backbone)
    use_products(made)
    if made.dual:
        made.decoder3d.rot_reg.conv_block = Tokens(made.decoder3d.rot_reg.conv_block)
    for part in list(made.modules()):
        for name, child in list(part.named_children()):
            if isinstance(child, SpiralConv):
                setattr(part, name, Spiral(child))
            elif isinstance(child, nn.ReLU):
                child.inplace = True
    made.backbone = Portions(backbone)
    return made.to(memory_format=torch.channels_last)


def unshuffled(conv: nn.Conv2d, factor: int) -> nn.Conv2d:
    """A 1x1 convolution behind nn.PixelUnshuffle(factor), as one convolution in its place."""
    channels = conv.in_channels // factor**2
    one = nn.Conv2d(channels, conv.out_channels, factor, factor, bias=conv.bias is not None)
    one.weight = nn.Parameter(conv.weight.view(conv.out_channels, channels, factor, factor), False)
    one.bias = conv.bias
    return one.eval()


class Spiral(nn.Module):
    """A SpiralConv of fixed weights."""

    def __init__(self, conv: SpiralConv) -> None:
        super().__init__()
        self.leaving, self.gather = conv.layer.out_features, conv.gather
        self.weight, self.bias = nn.Buffer(conv.weight().contiguous()), nn.Buffer(conv.layer.bias)
        self.length = conv.length

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        vertices, batch, entering = x.shape
        y = x.reshape(-1, entering) @ self.weight.T
        y = y.view(vertices, batch, self.length, self.leaving).transpose(1, 2)
        y = y.reshape(vertices * self.length, batch * self.leaving)
        return (self.gather.matrix() @ y).view(-1, batch, self.leaving).add_(self.bias)


class Portions(nn.Module):
    """The backbone on a few pictures at a time: on a CPU their maps then stay in its caches."""

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone

    def forward(self, image: torch.Tensor) -> tuple[torch.Tensor | None, ...]:
        if len(image) <= PORTION or image.device.type != "cpu":
            return self.backbone(image)
        found = zip(*(self.backbone(part) for part in image.split(PORTION)))
        return tuple(None if parts[0] is None else torch.cat(parts) for parts in found)


class Tokens(nn.Module):
    """1x1 convolutions with ReLU on (B,C,N) as products: N lies before C in memory here."""

    def __init__(self, layers: nn.Sequential) -> None:
        super().__init__()
        convs = [layer for layer in layers if isinstance(layer, nn.Conv1d)]
        self.weights = nn.ParameterList(conv.weight[..., 0] for conv in convs)
        self.biases = nn.ParameterList(conv.bias for conv in convs)
        self.requires_grad_(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x.mT
        for weight, bias in zip(self.weights, self.biases):
            x = functional.linear(x, weight, bias).relu_()
        return x.mT
