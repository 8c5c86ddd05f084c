"""HandOccNet's transformers: feature injection (FIT) and self-enhancement (SET)."""

import torch
from torch import nn
from torch.nn import functional

from handbench.errors import HandbenchError, UnknownName

GATES = ("none", "sum", "mean", "pairs", "softmax")
RESIDUALS = ("none", "input", "query", "query2")
FUSIONS = ("none", "concat", "add")


class CrossAttention(nn.Module):
    """One transformer block from a query map to a key map, both (B,C,s,s); tokens are cells.

    gate: what the softmax attention A is multiplied with: "none"; the sigmoid of q2·k2 summed
    ("sum", as released) or averaged ("mean", as written) over keys; the same without pooling, key
    by key ("pairs"); or a second softmax over keys ("softmax"). residual: what is added to A v:
    nothing, the block's input, the encoded query, the gate's encoded query. positions: learned
    maps added to queries and keys before they are encoded. HandOccNet section 3.2; order and
    names of parameters from its code. Raises UnknownName, HandbenchError.
    """

    def __init__(
        self,
        channels: int,
        cells: int,
        heads: int = 4,
        gate: str = "none",
        residual: str = "none",
        positions: bool = True,
    ) -> None:
        super().__init__()
        for option, value, known in (("gate", gate, GATES), ("residual", residual, RESIDUALS)):
            if value not in known:
                raise UnknownName(option, value, known)
        if channels % heads:
            raise HandbenchError(f"{channels} channels do not split into {heads} heads")
        self.heads, self.gate, self.residual = heads, gate, residual
        self.scale = (channels // heads) ** -0.5
        for name in ("q_embedding", "k_embedding"):
            start = torch.randn(1, channels, cells, cells) if positions else None
            self.register_parameter(name, None if start is None else nn.Parameter(start))
        self.q_embedding: nn.Parameter | None
        self.k_embedding: nn.Parameter | None
        self.encode_value = nn.Conv2d(channels, channels, 1)
        self.encode_query = nn.Conv2d(channels, channels, 1)
        self.encode_key = nn.Conv2d(channels, channels, 1)
        if gate != "none" or residual == "query2":
            self.encode_query2 = nn.Conv2d(channels, channels, 1)
        if gate != "none":
            self.encode_key2 = nn.Conv2d(channels, channels, 1)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = nn.ModuleDict(
            {
                "fc1": nn.Linear(channels, 4 * channels),
                "fc2": nn.Linear(4 * channels, channels),
            }
        )

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        """(B,C,s,s) twice -> (B,C,s,s)."""
        at_query, at_key = self.placed(query, key)
        encoded = encode(self.encode_query, at_query)
        q, k = self.split(encoded), self.split(encode(self.encode_key, at_key))
        v = self.split(encode(self.encode_value, key))
        if self.gate in ("pairs", "softmax"):
            x = self.weights(q, k, at_query, at_key) @ v
        else:
            x = functional.scaled_dot_product_attention(q, k, v, scale=self.scale)
            if self.gate != "none":
                x = x * self.pooled_gate(at_query, at_key)[..., None]
        x = x.transpose(1, 2).flatten(2)  # (B,N,C), heads side by side again
        if self.residual == "input":
            x = x + query.flatten(2).mT
        elif self.residual != "none":
            x = x + (encoded if self.residual == "query" else encode(self.encode_query2, at_query))
        x = x + self.mlp["fc2"](functional.gelu(self.mlp["fc1"](self.norm2(x))))
        return x.mT.unflatten(2, query.shape[2:])

    def placed(self, query: torch.Tensor, key: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        if self.q_embedding is None or self.k_embedding is None:
            return query, key
        return query + self.q_embedding, key + self.k_embedding

    def split(self, tokens: torch.Tensor) -> torch.Tensor:
        """(B,N,C) -> (B,heads,N,C/heads)."""
        return tokens.unflatten(2, (self.heads, -1)).transpose(1, 2)

    def pooled_gate(self, at_query: torch.Tensor, at_key: torch.Tensor) -> torch.Tensor:
        """(B,heads,N): how much each query takes in.

        The keys are pooled before the product, which is the same as after it and N times cheaper.
        """
        keys = self.split(encode(self.encode_key2, at_key))
        pooled = keys.sum(2) if self.gate == "sum" else keys.mean(2)
        queries = self.split(encode(self.encode_query2, at_query))
        return ((queries @ pooled[..., None])[..., 0] * self.scale).sigmoid()

    def weights(
        self, q: torch.Tensor, k: torch.Tensor, at_query: torch.Tensor, at_key: torch.Tensor
    ) -> torch.Tensor:
        """(B,heads,N,N): the attention of each query on each key, its gate included."""
        attention = (q @ k.mT * self.scale).softmax(-1)
        if self.gate in ("sum", "mean"):
            return attention * self.pooled_gate(at_query, at_key)[..., None]
        if self.gate == "none":
            return attention
        q2 = self.split(encode(self.encode_query2, at_query))
        k2 = self.split(encode(self.encode_key2, at_key))
        logits = q2 @ k2.mT * self.scale
        return attention * (logits.sigmoid() if self.gate == "pairs" else logits.softmax(-1))

    @torch.no_grad()
    def look(self, query: torch.Tensor, key: torch.Tensor) -> dict[str, torch.Tensor]:
        """products q k / sqrt(d), their softmax and attention, with its gate (B,heads,N,N each);
        the pooled gate (B,heads,s,s) if any. HandOccNet's figure 4 shows a row of each."""
        at_query, at_key = self.placed(query, key)
        q = self.split(encode(self.encode_query, at_query))
        k = self.split(encode(self.encode_key, at_key))
        products = q @ k.mT * self.scale
        found = {"products": products, "softmax": products.softmax(-1)}
        found["attention"] = self.weights(q, k, at_query, at_key)
        if self.gate in ("sum", "mean"):
            gate = self.pooled_gate(at_query, at_key)
            found["gate"] = gate.unflatten(2, query.shape[2:])
        return found


def encode(conv: nn.Conv2d, maps: torch.Tensor) -> torch.Tensor:
    """A 1x1 convolution of maps (B,C,s,s) as tokens (B,N,C): one product, and a memory layout
    in which torch takes its fused attention."""
    return functional.linear(maps.flatten(2).mT, conv.weight.flatten(1), conv.bias)


class Transformer(nn.Module):
    """Blocks in a row: each takes the last one's output as query; keys stay what they are.

    fuse: "none" (SET), or how the output joins the key map in FIT: "concat", two 3x3
    convolutions and a 1x1 beside them as released; "add" as written, F_P + R + MLP(LN(R)).
    Raises UnknownName.
    """

    def __init__(
        self, blocks: int, channels: int, cells: int, fuse: str = "none", **options: object
    ) -> None:
        super().__init__()
        if fuse not in FUSIONS:
            raise UnknownName("fuse", fuse, FUSIONS)
        self.fuse = fuse
        self.layers = nn.ModuleList(
            CrossAttention(channels, cells, **options)  # type: ignore[arg-type]
            for _ in range(blocks)
        )
        if fuse == "concat":
            self.conv1 = nn.Sequential(
                nn.Conv2d(2 * channels, channels, 3, padding=1),
                nn.ReLU(inplace=True),
                nn.Conv2d(channels, channels, 3, padding=1),
            )
            self.conv2 = nn.Sequential(nn.Conv2d(2 * channels, channels, 1))

    def forward(self, query: torch.Tensor, key: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            query = layer(query, key)
        if self.fuse == "concat":
            both = torch.cat([key, query], 1)
            return self.conv1(both) + self.conv2(both)
        return key + query if self.fuse == "add" else query


class NecessityConvs(nn.Module):
    """Features (B,C,s,s) -> map (B,1,s,s) in 0..1 by three convolutions (HandOccNet section 3.1,
    which leaves their sizes open; the released code pools channels instead)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.spatial = nn.Sequential(
            *(nn.Conv2d(channels, half, 3, padding=1), nn.ReLU(inplace=True)),
            *(nn.Conv2d(half, half, 3, padding=1), nn.ReLU(inplace=True)),
            nn.Conv2d(half, 1, 3, padding=1),
        )

    def forward(self, features: torch.Tensor) -> torch.Tensor:
        return self.spatial(features).sigmoid()
