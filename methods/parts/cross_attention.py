"""HandGCAT's cross attention between image features and the maps of 2D joints (section 3.3, CAT).

Names of entries are those of the released weights.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from handbench.errors import UnknownName
from handbench.methods.parts.injection import Transformer

POSITIONS = ("learned", "sine")


class ChannelAttention(nn.Module):
    """One map (B,Q,s,s) asks another (B,K,s,s), then a two-layer perceptron: (B,Q,s,s).

    Tokens are channels, their features the s^2 cells; heads split the rows. As released;
    the paper's form is had by the options. positions: "learned" maps added to query and key
    before these are encoded, or a "sine" code added after. residual_query: the encoded query is
    what the answer is added to, not the raw map. norm: layer norm before the perceptron.
    """

    q_embedding: torch.Tensor
    k_embedding: torch.Tensor
    q_sine: torch.Tensor
    k_sine: torch.Tensor

    def __init__(
        self,
        query: int,
        key: int,
        cells: int,
        heads: int = 4,
        ratio: int = 4,
        positions: str = "learned",
        residual_query: bool = False,
        norm: bool = True,
    ) -> None:
        super().__init__()
        if positions not in POSITIONS:
            raise UnknownName("positions", positions, POSITIONS)
        self.heads, self.residual_query = heads, residual_query
        self.learned = positions == "learned"
        area = cells**2
        for name, count in (("q", query), ("k", key)):
            if self.learned:
                start = nn.Parameter(torch.randn(1, count, cells, cells))
                self.register_parameter(f"{name}_embedding", start)
            else:
                code = sine_code(count, area).view(1, count, cells, cells)
                self.register_buffer(f"{name}_sine", code, persistent=False)
        self.encode_query = nn.Conv2d(query, query, 1)
        self.encode_key = nn.Conv2d(key, key, 1)
        self.encode_value = nn.Conv2d(key, key, 1)
        self.norm2 = nn.LayerNorm(area) if norm else nn.Identity()
        layers = {"fc1": nn.Linear(area, ratio * area), "fc2": nn.Linear(ratio * area, area)}
        self.mlp = nn.ModuleDict(layers)

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        q, k = self.encode(query, key)
        heads = self.split(q), self.split(k), self.split(self.encode_value(key))
        heard = functional.scaled_dot_product_attention(*heads)
        x = (q if self.residual_query else query).flatten(2) + heard.transpose(1, 2).flatten(2)
        x = x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))
        return x.view(query.shape)

    def encode(self, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The encoded query and key maps, positions included."""
        if self.learned:
            query, key = query + self.q_embedding, key + self.k_embedding
            return self.encode_query(query), self.encode_key(key)
        return self.encode_query(query) + self.q_sine, self.encode_key(key) + self.k_sine

    def split(self, x: torch.Tensor) -> torch.Tensor:
        """Maps (B,C,s,s) -> channels of each head (B,heads,C,s^2/heads)."""
        return x.flatten(2).unflatten(2, (self.heads, -1)).transpose(1, 2)

    @torch.no_grad()
    def weights(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """How much each channel of query hears of each of key (B,heads,Q,K); sums over K are 1."""
        q, k = (self.split(x) for x in self.encode(query, key))
        return (q @ k.mT / q.shape[-1] ** 0.5).softmax(-1)


def sine_code(count: int, features: int) -> torch.Tensor:
    """(count, features): sines and cosines of the place, wavelengths 2 pi to 20000 pi
    (Vaswani et al. 2017, section 3.5)."""
    place = torch.arange(count)[:, None] / 10000 ** (torch.arange(0, features, 2) / features)
    return torch.stack([place.sin(), place.cos()], -1).flatten(1)[:, :features]


class OneAttention(nn.Module):
    """A transformer of depth 1; the released weights count its layer."""

    def __init__(self, query: int, key: int, cells: int, **form: Any) -> None:
        super().__init__()
        self.layers = nn.ModuleList([ChannelAttention(query, key, cells, **form)])

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        return self.layers[0](query, key)


class CrossBlock(nn.Module):
    """Image features ask the joints' maps, then the joints' maps ask the image features.

    parallel: these as they came in, as in the paper's equation 3, not as already changed.
    """

    def __init__(
        self, channels: int, joints: int, cells: int, parallel: bool = False, **form: Any
    ) -> None:
        super().__init__()
        self.parallel = parallel
        self.transformer1 = OneAttention(channels, joints, cells, **form)
        self.transformer2 = OneAttention(joints, channels, cells, **form)

    def forward(
        self, image: torch.Tensor, joints: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        moved = self.transformer1(image, joints)
        return moved, self.transformer2(joints, image if self.parallel else moved)


class CrossFusion(nn.Module):
    """Image features (B,C,s,s) and joints' maps (B,21,s,s) -> fused features (B,C,s,s).

    blocks: of cross attention both ways. spatial: blocks of a plain transformer on the fused
    map, tokens being cells (table V, "Two Transformers"). fusion_norm: batch norm and ReLU after
    the 1x1 convolution, as released. form: of CrossBlock.
    """

    def __init__(
        self,
        channels: int,
        joints: int,
        cells: int,
        blocks: int = 2,
        spatial: int = 0,
        fusion_norm: bool = True,
        **form: Any,
    ) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            CrossBlock(channels, joints, cells, **form) for _ in range(blocks)
        )
        self.fusion_conv = nn.Sequential(nn.Conv2d(channels + joints, channels, 1))
        if fusion_norm:
            self.fusion_conv.append(nn.BatchNorm2d(channels, momentum=0.01))
            self.fusion_conv.append(nn.ReLU(inplace=True))
        self.SET = Transformer(spatial, channels, cells, heads=form["heads"], residual="input")

    def forward(self, image: torch.Tensor, joints: torch.Tensor) -> torch.Tensor:
        for block in self.layers:
            image, joints = block(image, joints)
        fused = self.fusion_conv(torch.cat([image, joints], 1))
        return self.SET(fused, fused)
