"""Names and shapes of a Llama's parameters, from its configuration alone: nothing is allocated, and transformers is not imported.

Notation: V tokens, width D, hidden width F of the MLP, L layers, H query heads, K key-value heads, d entries per head.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from explaind.errors import StoreError

__all__ = ["Dimensions", "dimensions", "parameter_shapes"]


@dataclass(frozen=True)
class Dimensions:
    """V, D, F, L, H, K, d, and whether the output embedding is the input embedding."""

    vocabulary: int
    width: int
    hidden: int
    layers: int
    heads: int
    key_value_heads: int
    head: int
    tied: bool


def dimensions(config: Mapping[str, Any], source: object = "the configuration") -> Dimensions:
    """The dimensions of a model.

    Args:
        config: as in transformers' config.json; what it leaves out has transformers' default where that follows from the rest.
        source: where it comes from, for messages.

    Raises:
        StoreError: another kind of model than Llama, biases, or a dimension that is missing or does not fit the others.
    """
    if config.get("model_type") != "llama":
        raise StoreError(
            f"{source} describes another kind of model",
            expected="model_type 'llama'",
            got=f"model_type {config.get('model_type')!r}",
            remedy="only Llama-type checkpoints can be read",
        )
    for name in ("attention_bias", "mlp_bias"):
        if config.get(name):
            raise StoreError(
                f"{source} describes a model with biases",
                expected=f"{name} false",
                got=f"{name} {config[name]!r}",
                remedy="only Llama-type checkpoints without biases can be read",
            )
    heads = _count(config, "num_attention_heads", source)
    width = _count(config, "hidden_size", source)
    if config.get("head_dim") is None and width % heads:
        raise _unfit(
            source, "a hidden_size that num_attention_heads divides, or a head_dim", f"{width} and {heads}"
        )
    head = _count(config, "head_dim", source, width // heads)
    key_value_heads = _count(config, "num_key_value_heads", source, heads)
    if heads % key_value_heads:
        raise _unfit(
            source,
            "num_key_value_heads that divide num_attention_heads",
            f"{key_value_heads} and {heads}",
        )
    return Dimensions(
        _count(config, "vocab_size", source),
        width,
        _count(config, "intermediate_size", source),
        _count(config, "num_hidden_layers", source),
        heads,
        key_value_heads,
        head,
        bool(config.get("tie_word_embeddings", False)),
    )


def parameter_shapes(
    config: Mapping[str, Any], source: object = "the configuration"
) -> dict[str, tuple[int, ...]]:
    """Shapes by name, in the order of transformers' `LlamaForCausalLM(config).named_parameters()`.

    A tied output embedding is no parameter of its own, and is left out as there.

    Args, raises: as of `dimensions`.
    """
    n = dimensions(config, source)
    queries, keys = n.heads * n.head, n.key_value_heads * n.head
    layer = {
        "self_attn.q_proj.weight": (queries, n.width),
        "self_attn.k_proj.weight": (keys, n.width),
        "self_attn.v_proj.weight": (keys, n.width),
        "self_attn.o_proj.weight": (n.width, queries),
        "mlp.gate_proj.weight": (n.hidden, n.width),
        "mlp.up_proj.weight": (n.hidden, n.width),
        "mlp.down_proj.weight": (n.width, n.hidden),
        "input_layernorm.weight": (n.width,),
        "post_attention_layernorm.weight": (n.width,),
    }
    shapes: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (n.vocabulary, n.width)}
    for index in range(n.layers):
        shapes |= {f"model.layers.{index}.{name}": shape for name, shape in layer.items()}
    shapes["model.norm.weight"] = (n.width,)
    if not n.tied:
        shapes["lm_head.weight"] = (n.vocabulary, n.width)
    return shapes


def _count(config: Mapping[str, Any], name: str, source: object, default: int | None = None) -> int:
    value = config.get(name)
    if value is None and default is not None:
        return default
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise StoreError(
            f"{source} does not say {name}",
            expected="a whole number, 1 or more",
            got="no such entry" if name not in config else repr(value),
            remedy="use the config.json that was saved with the model",
        )
    return value


def _unfit(source: object, expected: str, got: str) -> StoreError:
    return StoreError(f"The dimensions in {source} do not fit together", expected=expected, got=got)
