"""Transformer layers whose attention is softmax, sigmoid, or the product of both.

OccRobNet section III-C, equations 5 to 7; layers as in DETR (Carion et al. 2020), norms last.
"""

from typing import Any

import torch
from torch import nn
from torch.nn import functional

from handbench.errors import HandbenchError, UnknownName

FORMS = ("softmax", "sigmoid", "product", "gate")


class Attention(nn.Module):
    """Queries (B,Q,d) hear values (B,K,d) by keys (B,K,d) in several heads: (B,Q,d).

    With S = q k^T / sqrt(d_head): form "softmax": softmax(S); "sigmoid": sigmoid(S); "product":
    softmax(S) sigmoid(S) element by element, of the same q and k, not normalised again (equations
    5 to 7); "gate": softmax(S) times one sigmoid a query, of the sum over keys of a second
    product of encodings, as in HandOccNet. Raises UnknownName, HandbenchError.
    """

    def __init__(self, width: int, heads: int, form: str = "softmax", dropout: float = 0.0) -> None:
        super().__init__()
        if form not in FORMS:
            raise UnknownName("attention", form, FORMS)
        if width % heads:
            raise HandbenchError(f"{width} channels do not split into {heads} heads")
        self.heads, self.form, self.dropout = heads, form, dropout
        self.query, self.key = nn.Linear(width, width), nn.Linear(width, width)
        self.value, self.out = nn.Linear(width, width), nn.Linear(width, width)
        if form == "gate":
            self.query2, self.key2 = nn.Linear(width, width), nn.Linear(width, width)

    def forward(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        allowed: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """allowed: bool, broadcast to (B,heads,Q,K): who may hear whom; None: all do."""
        v = self.split(self.value(value))
        if self.form == "softmax":
            q, k = self.split(self.query(query)), self.split(self.key(key))
            share = self.dropout if self.training else 0.0
            heard = functional.scaled_dot_product_attention(q, k, v, allowed, share)
        else:
            weights = self.weights(query, key, allowed)
            heard = functional.dropout(weights, self.dropout, self.training) @ v
        return self.out(heard.transpose(1, 2).flatten(2))

    def weights(
        self, query: torch.Tensor, key: torch.Tensor, allowed: torch.Tensor | None = None
    ) -> torch.Tensor:
        """What each query (row) takes of each key: (B,heads,Q,K)."""
        q, k = self.split(self.query(query)), self.split(self.key(key))
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if allowed is not None:
            scores = scores.masked_fill(~allowed, -torch.inf)
        if self.form == "sigmoid":
            return scores.sigmoid()
        soft = scores.softmax(-1)
        if self.form == "product":
            return soft * scores.sigmoid()
        return soft * self.gate(query, key, allowed) if self.form == "gate" else soft

    def gate(
        self, query: torch.Tensor, key: torch.Tensor, allowed: torch.Tensor | None
    ) -> torch.Tensor:
        """One number 0..1 for each query: (B,heads,Q,1)."""
        q, k = self.split(self.query2(query)), self.split(self.key2(key))
        scores = q @ k.mT / q.shape[-1] ** 0.5
        if allowed is not None:
            scores = scores.masked_fill(~allowed, 0.0)
        return scores.sum(-1, keepdim=True).sigmoid()

    def split(self, x: torch.Tensor) -> torch.Tensor:
        return x.unflatten(2, (self.heads, -1)).transpose(1, 2)


class FeedForward(nn.Sequential):
    def __init__(self, width: int, hidden: int, dropout: float) -> None:
        layers = (nn.Linear(width, hidden), nn.ReLU(), nn.Dropout(dropout))
        super().__init__(*layers, nn.Linear(hidden, width))


class EncoderLayer(nn.Module):
    """Self-attention and a perceptron, each added and then normalised."""

    def __init__(self, width: int, heads: int, hidden: int, form: str, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, form, dropout)
        self.feed = FeedForward(width, hidden, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.drop = nn.Dropout(dropout)

    def forward(self, x: torch.Tensor, allowed: torch.Tensor | None = None) -> torch.Tensor:
        x = self.norm1(x + self.drop(self.attention(x, x, x, allowed)))
        return self.norm2(x + self.drop(self.feed(x)))


class DecoderLayer(nn.Module):
    """Self-attention of the queries, softmax attention to the tokens, a perceptron.

    place (Q,d): added to the queries wherever they ask or are asked (DETR's learned queries).
    """

    def __init__(self, width: int, heads: int, hidden: int, form: str, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, form, dropout)
        self.cross = Attention(width, heads, "softmax", dropout)
        self.feed = FeedForward(width, hidden, dropout)
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.norm3, self.drop = nn.LayerNorm(width), nn.Dropout(dropout)

    def forward(
        self,
        x: torch.Tensor,
        place: torch.Tensor,
        tokens: torch.Tensor,
        groups: torch.Tensor,
        allowed: torch.Tensor,
    ) -> torch.Tensor:
        """x (B,Q,d), tokens (B,K,d), groups (Q,Q), allowed (B,1,Q,K) bool -> (B,Q,d)."""
        asking = x + place
        x = self.norm1(x + self.drop(self.attention(asking, asking, x, groups)))
        x = self.norm2(x + self.drop(self.cross(x + place, tokens, tokens, allowed)))
        return self.norm3(x + self.drop(self.feed(x)))

    def look(
        self, x: torch.Tensor, place: torch.Tensor, tokens: torch.Tensor, **masks: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Attention of the queries to each other (B,heads,Q,Q) and to the tokens (B,heads,Q,K)."""
        asking = x + place
        among = self.attention.weights(asking, asking, masks["groups"])
        x = self.norm1(x + self.attention(asking, asking, x, masks["groups"]))
        return among, self.cross.weights(x + place, tokens, masks["allowed"])


def perceptron(*widths: int, last: bool = False) -> nn.Sequential:
    """Linear layers with ReLU between them, and behind the last one where asked."""
    layers: list[nn.Module] = []
    for entering, leaving in zip(widths[:-1], widths[1:]):
        layers += [nn.Linear(entering, leaving), nn.ReLU()]
    return nn.Sequential(*(layers if last else layers[:-1]))
