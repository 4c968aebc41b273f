"""A one-layer Transformer for modulo addition: 89,024 parameters at p = 113.

Notation: N samples of L tokens, V tokens in the vocabulary, width d, H heads of width k. With x the embedding times
sqrt(d), head i computes h_i = E_i x, attends with query = key = value = h_i without mask, and writes D_i (mixture) back;
heads are summed: attn = Σ_i D_i softmax(h_i h_iᵀ / sqrt(k)) h_i. No positions, no attention residual, no LayerNorm. Then
out = attn + ReLU(Linear2(ReLU(Linear1(attn)))) and log-softmax(decoder(out)), read at the last token.

The parameters are those of this definition; the computation takes three exact shortcuts, because only the last token is
read: h_i is computed once per token of the vocabulary and looked up (without positions it depends on the token alone),
only the last token's query is formed, and the MLP sees only the last token. Heads are batched by concatenating their
weights. There is no fused kernel and no control flow that depends on data, so forward mode, vmap and double precision work.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explaind.errors import ConfigError
from explaind.experiments.grokking.layers import LAYERS

__all__ = ["LAYERS", "ModuloTransformer", "head_groups", "layer_groups"]


class ModuloTransformer(nn.Module):
    """Maps token ids `[N, L]` (int64) to log-probabilities `[N, V]` of the token that follows.

    Args:
        tokens: V, p + 2.
        width: d.
        heads: H, a divisor of d; each head has width k = d / H.
        hidden: width of the MLP.

    All parameters start with PyTorch's defaults: N(0, 1) for the embedding, uniform ± 1/sqrt(fan-in) for linear maps.
    """

    def __init__(self, *, tokens: int, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        if min(tokens, width, heads, hidden) < 1 or width % heads:
            raise ConfigError(
                "The Transformer's sizes are not usable.",
                expected="positive whole numbers, and a width that the number of heads divides",
                got=f"width={width}, heads={heads}, hidden={hidden}",
                remedy="Correct conf/model.",
            )
        head_width = width // heads
        self.embedding = nn.Embedding(tokens, width)
        self.encoders = nn.ModuleList(nn.Linear(width, head_width, bias=False) for _ in range(heads))
        self.decoders = nn.ModuleList(nn.Linear(head_width, width, bias=False) for _ in range(heads))
        self.linear1 = nn.Linear(width, hidden)
        self.linear2 = nn.Linear(hidden, width)
        self.decoder = nn.Linear(width, tokens, bias=False)
        self.heads, self.head_width = heads, head_width

    def forward(self, tokens: Tensor) -> Tensor:
        """Log-probabilities `[N, V]` at the last token of `tokens [N, L]`."""
        encode = torch.cat([head.weight for head in self.encoders])  # [H·k, d]
        decode = torch.cat([head.weight for head in self.decoders], dim=1)  # [d, H·k]
        table = math.sqrt(self.embedding.embedding_dim) * (self.embedding.weight @ encode.T)  # [V, H·k]
        h = F.embedding(tokens, table).unflatten(-1, (self.heads, self.head_width))  # [N, L, H, k]
        scores = (h * h[:, -1:]).sum(-1) / math.sqrt(self.head_width)  # [N, L, H]
        mixture = (scores.softmax(dim=1).unsqueeze(-1) * h).sum(1)  # [N, H, k]
        attention = mixture.flatten(1) @ decode.T  # [N, d]
        out = attention + F.relu(self.linear2(F.relu(self.linear1(attention))))
        return F.log_softmax(self.decoder(out), dim=-1)


def layer_groups(model: ModuloTransformer) -> dict[str, tuple[str, ...]]:
    """Layer name -> parameter names: the paper's six layers, from the input to the output."""
    modules = ("embedding", "encoders", "decoders", "linear1", "linear2", "decoder")
    names = [name for name, _ in model.named_parameters()]
    return {
        layer: tuple(name for name in names if name.split(".")[0] == module)
        for layer, module in zip(LAYERS, modules, strict=True)
    }


def head_groups(model: ModuloTransformer) -> dict[str, tuple[str, ...]]:
    """Head name -> names of its E_i and D_i: the heads of the one attention block, counted from 1."""
    return {
        f"head {i + 1}": (f"encoders.{i}.weight", f"decoders.{i}.weight") for i in range(len(model.encoders))
    }
