"""The modulo Transformer exactly as the paper defines it: every position, every head, one at a time. Slow and obvious."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def literal_forward(parameters: dict[str, Tensor], tokens: Tensor, *, heads: int) -> Tensor:
    """Log-probabilities `[N, V]` at the last token, from the named parameters of `ModuloTransformer`."""
    weight = parameters["embedding.weight"]
    x = weight[tokens] * math.sqrt(weight.shape[1])  # [N, L, d]
    attention = torch.zeros_like(x)
    for i in range(heads):
        h = x @ parameters[f"encoders.{i}.weight"].T  # [N, L, k]; query = key = value
        pattern = torch.softmax(h @ h.transpose(1, 2) / math.sqrt(h.shape[-1]), dim=-1)  # [N, L, L], no mask
        attention = attention + (pattern @ h) @ parameters[f"decoders.{i}.weight"].T
    hidden = torch.relu(attention @ parameters["linear1.weight"].T + parameters["linear1.bias"])
    out = attention + torch.relu(hidden @ parameters["linear2.weight"].T + parameters["linear2.bias"])
    return torch.log_softmax(out @ parameters["decoder.weight"].T, dim=-1)[:, -1]
