"""Small models of the layers that networks are made of: [n, 3] → [n, 3]."""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Attention(nn.Module):
    """Multi-head attention as torch packages it, or by scaled_dot_product_attention, behind a LayerNorm."""

    def __init__(self, packaged: bool) -> None:
        super().__init__()
        self.embed, self.norm, self.read = nn.Linear(1, 4), nn.LayerNorm(4), nn.Linear(4, 3)
        self.attention = nn.MultiheadAttention(4, 2, batch_first=True) if packaged else None

    def forward(self, x: Tensor) -> Tensor:
        h = self.norm(self.embed(x.unsqueeze(-1)))
        if self.attention is not None:
            h = h + self.attention(h, h, h, need_weights=False)[0]
        else:
            h = h + F.scaled_dot_product_attention(h, h, h, is_causal=True)
        return self.read(h.mean(1))


class Convolution(nn.Module):
    """Convolution, GroupNorm, pooling."""

    def __init__(self) -> None:
        super().__init__()
        self.convolve, self.norm, self.read = nn.Conv1d(1, 2, 2), nn.GroupNorm(1, 2), nn.Linear(2, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(F.max_pool1d(torch.tanh(self.norm(self.convolve(x.unsqueeze(1)))), 2).flatten(1))


class Embedded(nn.Module):
    """Tokens, made here from the signs of numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.read = nn.Embedding(2, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.read(torch.tanh(self.embed((x > 0).long())).sum(1))


class InPlace(nn.Module):
    """Operations that overwrite their input."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        h.mul_(2.0).add_(0.1)
        return self.second(F.relu(h, inplace=True))


class Decides(nn.Module):
    """Control flow that depends on values, which a trace would freeze."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return self.second(torch.tanh(h) if float(h.detach().sum()) > 0 else -torch.tanh(h))


MODELS: dict[str, Callable[[], nn.Module]] = {
    "packaged attention": lambda: Attention(True),
    "attention": lambda: Attention(False),
    "convolution": Convolution,
    "embedding": Embedded,
    "in place": InPlace,
    "transformer layer": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 1)), nn.Linear(1, 4),
        nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True), nn.Flatten(), nn.Linear(12, 3),
    ),
}  # fmt: skip
