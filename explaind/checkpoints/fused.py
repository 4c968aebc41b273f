"""Megatron-core's fused tensors, and the parameters of a Llama that they hold.

Notation: H query heads, K key-value heads, d entries per head, p = H / K queries per key-value head. The rows of linear_qkv are

    grouped (Megatron's own):  for each of the K groups  [q_1 … q_p, k, v], each of d rows
    stacked:                   [q; k; v] of H d, K d and K d rows

linear_fc1 stacks gate and up. Embeddings may have more rows than the vocabulary, which Megatron pads so that devices share it
evenly. All sizes come from the configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explaind.checkpoints.llama import dimensions, parameter_shapes
from explaind.errors import StoreError

__all__ = ["QKV", "Fused", "fuse", "layout", "split"]

QKV = ("grouped", "stacked")


@dataclass(frozen=True)
class Fused:
    """One fused tensor.

    Attributes:
        names: Megatron-core's; the norms have two, of which a file uses one.
        parts: the parameters in it, by transformers' names.
        shape: without padding.
        rows: of each part.
        groups: (K, p, d) for linear_qkv with grouped rows, else None.
        padded: may it have more rows?
    """

    names: tuple[str, ...]
    parts: tuple[str, ...]
    shape: tuple[int, ...]
    rows: tuple[int, ...]
    groups: tuple[int, int, int] | None = None
    padded: bool = False


def layout(config: Mapping[str, Any], qkv: str = "grouped") -> tuple[Fused, ...]:
    """All fused tensors of a model; together their parts are its parameters, each once.

    Args:
        config: as in config.json.
        qkv: order of the rows of linear_qkv, "grouped" or "stacked".

    Raises:
        StoreError: a configuration that cannot be read, or another order.
    """
    if qkv not in QKV:
        raise StoreError("The rows of linear_qkv have no such order", expected=" or ".join(QKV), got=str(qkv))
    n, shapes = dimensions(config), parameter_shapes(config)
    groups = (n.key_value_heads, n.heads // n.key_value_heads, n.head) if qkv == "grouped" else None

    def fused(names: tuple[str, ...], *parts: str, **options: Any) -> Fused:
        rows = tuple(shapes[part][0] for part in parts)
        return Fused(names, parts, (sum(rows), *shapes[parts[0]][1:]), rows, **options)

    tensors = [fused(("embedding.word_embeddings.weight",), "model.embed_tokens.weight", padded=True)]
    for index in range(n.layers):
        there, here = f"decoder.layers.{index}", f"model.layers.{index}"
        attention, mlp = f"{there}.self_attention", f"{there}.mlp"
        tensors += [
            fused(
                (f"{attention}.linear_qkv.layer_norm_weight", f"{there}.input_layernorm.weight"),
                f"{here}.input_layernorm.weight",
            ),
            fused(
                (f"{attention}.linear_qkv.weight",),
                *(f"{here}.self_attn.{part}_proj.weight" for part in "qkv"),
                groups=groups,
            ),
            fused((f"{attention}.linear_proj.weight",), f"{here}.self_attn.o_proj.weight"),
            fused(
                (f"{mlp}.linear_fc1.layer_norm_weight", f"{there}.pre_mlp_layernorm.weight"),
                f"{here}.post_attention_layernorm.weight",
            ),
            fused(
                (f"{mlp}.linear_fc1.weight",), f"{here}.mlp.gate_proj.weight", f"{here}.mlp.up_proj.weight"
            ),
            fused((f"{mlp}.linear_fc2.weight",), f"{here}.mlp.down_proj.weight"),
        ]
    tensors.append(fused(("decoder.final_layernorm.weight",), "model.norm.weight"))
    if not n.tied:
        tensors.append(fused(("output_layer.weight",), "lm_head.weight", padded=True))
    return tuple(tensors)


def split(fused: Fused, tensor: Tensor, part: str) -> Tensor:
    """One parameter out of a fused tensor.

    Args:
        fused: what the tensor is.
        tensor: of shape `fused.shape`, or with more rows if padded.
        part: the parameter's name.

    Returns:
        The parameter in its own shape; a view where its rows are adjacent.
    """
    index = fused.parts.index(part)
    if fused.groups is None:
        start = sum(fused.rows[:index])
        return tensor[start : start + fused.rows[index]]
    groups, queries, size = fused.groups
    rows = tensor.view(groups, queries + 2, size, *tensor.shape[1:])
    chosen = rows[:, :queries] if index == 0 else rows[:, queries + index - 1]
    return chosen.reshape(fused.rows[index], *tensor.shape[1:])


def fuse(
    parameters: Mapping[str, Tensor],
    config: Mapping[str, Any],
    *,
    qkv: str = "grouped",
    vocabulary_rows: int | None = None,
) -> dict[str, Tensor]:
    """Parameters, or one moment of each, as Megatron-core's fused tensors: the inverse of `split`.

    Args:
        parameters: by transformers' names.
        config: as in config.json.
        qkv: order of the rows of linear_qkv, "grouped" or "stacked".
        vocabulary_rows: rows of the embeddings, padded by zeros; None: no padding.

    Returns:
        Tensors by Megatron-core's names, norms under those of its fused layers.

    Raises:
        StoreError: as of `layout`.
    """
    return {
        fused.names[0]: _fuse(fused, [parameters[part] for part in fused.parts], vocabulary_rows)
        for fused in layout(config, qkv)
    }


def _fuse(fused: Fused, parts: list[Tensor], vocabulary_rows: int | None) -> Tensor:
    if fused.groups is not None:
        groups, queries, size = fused.groups
        heads = [
            part.reshape(groups, count, size, -1) for part, count in zip(parts, (queries, 1, 1), strict=True)
        ]
        return torch.cat(heads, 1).reshape(fused.shape)
    whole = torch.cat(parts)
    if fused.padded and vocabulary_rows is not None:
        padding = whole.new_zeros(vocabulary_rows - len(whole), *whole.shape[1:])
        whole = torch.cat([whole, padding])
    return whole
