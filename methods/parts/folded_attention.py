"""Forms of the attention blocks for networks that are only asked: what is constant is folded.

Learned positions become constant maps added to the encoded ones, keys and values come from one
product, and the pooled gate is a product with one vector a head. Outputs differ by rounding.
"""

import torch
from torch import nn
from torch.nn import functional

from handbench.methods.parts.cross_attention import ChannelAttention
from handbench.methods.parts.injection import CrossAttention


class FoldedAttention(nn.Module):
    """What a CrossAttention gives, from (B,C,s,s) twice to (B,C,s,s); not for further training.

    Gates that need every pair of query and key are not folded: see `foldable`.
    """

    def __init__(self, block: CrossAttention) -> None:
        super().__init__()
        self.heads, self.scale = block.heads, block.scale
        self.gate, self.residual = block.gate, block.residual
        self.norm2, self.mlp = block.norm2, block.mlp
        query, key, value = (
            matrix(conv) for conv in (block.encode_query, block.encode_key, block.encode_value)
        )
        self.query = nn.Buffer(query)
        self.query_map = nn.Buffer(placed(block.encode_query, block.q_embedding))
        self.both = nn.Buffer(torch.cat([key, value]))
        maps = placed(block.encode_key, block.k_embedding), placed(block.encode_value, None)
        self.both_map = nn.Buffer(torch.cat([maps[0], maps[1].expand_as(maps[0])], 1))
        if self.gate != "none":
            self.keep_gate(block)

    def keep_gate(self, block: CrossAttention) -> None:
        split = (self.heads, -1)
        weight, bias = matrix(block.encode_query2), bias_of(block.encode_query2)
        self.query2 = nn.Buffer(weight.unflatten(0, split).contiguous())  # (heads,d,C)
        self.query2_bias = nn.Buffer(bias.unflatten(0, split).contiguous())
        self.key2 = nn.Buffer(matrix(block.encode_key2))
        self.key2_bias = nn.Buffer(bias_of(block.encode_key2))
        self.placed = block.q_embedding is not None and block.k_embedding is not None
        if block.q_embedding is not None and block.k_embedding is not None:
            self.q_tokens = nn.Buffer(block.q_embedding.detach().flatten(2)[0].T.contiguous())
            self.k_mean = nn.Buffer(block.k_embedding.detach().mean((2, 3))[0])

    @staticmethod
    def foldable(block: CrossAttention) -> bool:
        return block.gate in ("none", "sum", "mean") and block.residual != "query2"

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        asking, asked = query.flatten(2).mT, key.flatten(2).mT  # tokens (B,N,C)
        q = functional.linear(asking, self.query).add_(self.query_map)
        k, v = functional.linear(asked, self.both).add_(self.both_map).chunk(2, 2)
        of_q, of_k, of_v = (x.unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (q, k, v))
        x = functional.scaled_dot_product_attention(of_q, of_k, of_v, scale=self.scale)
        if self.gate != "none":
            x = x * self.pooled_gate(asking, asked)
        x = x.transpose(1, 2).flatten(2)
        if self.residual != "none":
            x = x + (asking if self.residual == "input" else q)
        x = x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))
        return x.mT.unflatten(2, query.shape[2:])

    def pooled_gate(self, asking: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
        """(B,heads,N,1): pooled keys first, then their weights on the query's channels."""
        count = asked.shape[1] if self.gate == "sum" else 1
        mean = asked.mean(1) + self.k_mean if self.placed else asked.mean(1)
        pooled = count * functional.linear(mean, self.key2, self.key2_bias)
        pooled = pooled.unflatten(1, (self.heads, -1))  # (B,heads,d)
        weights = torch.einsum("bhd,hdc->bhc", pooled, self.query2).mT
        logits = asking @ weights
        if self.placed:
            logits = logits + self.q_tokens @ weights
        logits = logits + (pooled * self.query2_bias).sum(2)[:, None]
        return (logits.mT * self.scale).sigmoid()[..., None]


class FoldedChannels(nn.Module):
    """What a ChannelAttention gives, (B,Q,s,s) and (B,K,s,s) to (B,Q,s,s).

    Only the map with fewer channels is encoded: the other's weights meet the small product of
    both, (W X) k^T = W (X k^T), so that 256 channels never meet 256 x 256 weights on all cells.
    """

    def __init__(self, block: ChannelAttention) -> None:
        super().__init__()
        self.heads, self.residual_query = block.heads, block.residual_query
        self.norm2, self.mlp = block.norm2, block.mlp
        self.query, self.key, self.value = (
            nn.Buffer(matrix(conv))
            for conv in (block.encode_query, block.encode_key, block.encode_value)
        )
        self.query_map = nn.Buffer(channel_map(block, "query"))
        self.key_map = nn.Buffer(channel_map(block, "key"))
        self.value_bias = nn.Buffer(bias_of(block.encode_value)[:, None].clone())
        self.few_queries = block.residual_query or len(self.query) <= len(self.key)

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        asking, asked = query.flatten(2).contiguous(), key.flatten(2).contiguous()
        scale = (asking.shape[2] // self.heads) ** -0.5
        x, y = self.split(asking), self.split(asked)
        added = asking
        if self.few_queries:
            encoded = self.query @ asking + self.query_map
            q = self.split(encoded)
            scores = q @ y.mT @ self.key.T + q @ self.split(self.key_map).mT
            share = (scores * scale).softmax(3)
            heard = share @ self.value @ y + share @ self.value_bias
            added = encoded if self.residual_query else asking
        else:
            k = self.split(self.key @ asked + self.key_map)
            scores = self.query @ (x @ k.mT) + self.split(self.query_map) @ k.mT
            share = (scores * scale).softmax(3)
            heard = share @ self.split(self.value @ asked + self.value_bias)
        x = added + heard.transpose(1, 2).flatten(2)
        x = x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))
        return x.view(query.shape)

    def split(self, maps: torch.Tensor) -> torch.Tensor:
        """(…,C,A) -> (…,heads,C,A/heads): each head has some of the rows."""
        return maps.unflatten(-1, (self.heads, -1)).transpose(-2, -3)


def fold_attention(module: nn.Module) -> nn.Module:
    """Put the folded form in place of every attention block inside module; returns module."""
    for part in list(module.modules()):
        for name, block in list(part.named_children()):
            if isinstance(block, CrossAttention) and FoldedAttention.foldable(block):
                setattr(part, name, FoldedAttention(block))
            elif isinstance(block, ChannelAttention):
                setattr(part, name, FoldedChannels(block))
    return module


def matrix(conv: nn.Conv2d) -> torch.Tensor:
    """The weights of a 1x1 convolution as (out, in)."""
    return conv.weight.detach().flatten(1).clone()


def bias_of(conv: nn.Conv2d) -> torch.Tensor:
    assert conv.bias is not None
    return conv.bias.detach()


def placed(conv: nn.Conv2d, positions: torch.Tensor | None) -> torch.Tensor:
    """What positions (1,C,s,s) and bias add to the encoded tokens: (N,C), or (1,C) without any."""
    bias = bias_of(conv).double()
    if positions is None:
        return bias[None].to(conv.weight.dtype)
    tokens = positions.detach().flatten(2)[0].T.double()
    return (tokens @ matrix(conv).double().T + bias).to(conv.weight.dtype)


def channel_map(block: ChannelAttention, name: str) -> torch.Tensor:
    """What positions and bias add to an encoded map: (C, s^2)."""
    conv = getattr(block, f"encode_{name}")
    if block.learned:
        return placed(conv, getattr(block, f"{name[0]}_embedding")).T.contiguous()
    return getattr(block, f"{name[0]}_sine").flatten(2)[0] + bias_of(conv)[:, None]
