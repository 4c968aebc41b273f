"""EuroLLM: transformers' Llama with grouped-query attention, RMSNorm, SwiGLU, rotary positions and untied embeddings.

Shapes are those of Martins et al., EuroLLM: Multilingual Language Models for Europe (arXiv 2409.16235), at any size.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from explaind.experiments.language.pretraining import Architecture
from explaind.features.units import Cut

__all__ = ["COMPONENTS", "LLAMA", "describe", "llama_config", "make_llama", "sequence_losses"]

#: Kinds of components, from input to output, as the figures name them.
COMPONENTS = ("input embedding", "attention", "MLP", "norms", "output embedding")


def llama_config(shape: Mapping[str, Any], context: int) -> dict[str, Any]:
    """The model's configuration under transformers' own names.

    Args:
        shape: `config["model"]`.
        context: longest sequence, in tokens.
    """
    return {
        "model_type": "llama",
        "vocab_size": shape["vocabulary"],
        "hidden_size": shape["width"],
        "intermediate_size": shape["hidden"],
        "num_hidden_layers": shape["layers"],
        "num_attention_heads": shape["heads"],
        "num_key_value_heads": shape["key_value_heads"],
        "max_position_embeddings": context,
        "rope_parameters": {"rope_type": "default", "rope_theta": shape["rope_theta"]},
        "rms_norm_eps": shape["rms_norm_eps"],
        "initializer_range": shape["initializer_range"],
        "tie_word_embeddings": False,
        "attention_bias": False,
        "mlp_bias": False,
        "hidden_act": "silu",
        "bos_token_id": 0,
        "eos_token_id": 1,
    }


def make_llama(config: Mapping[str, Any], *, attention: str = "sdpa") -> nn.Module:
    """A LlamaForCausalLM with random parameters from torch's generator.

    transformers' own RMSNorm rounds to float32, so that a float64 model is none; torch's RMSNorm, which does the same sums in the
    precision of its input, takes its place under the same parameter names.

    Args:
        config: as `llama_config` gives it, or read from a checkpoint.
        attention: transformers' name of the implementation.
    """
    from transformers import LlamaConfig, LlamaForCausalLM  # takes seconds to import
    from transformers.models.llama.modeling_llama import LlamaRMSNorm

    wanted = {key: value for key, value in config.items() if key != "model_type"} | {"use_cache": False}
    model = LlamaForCausalLM(LlamaConfig(**wanted, attn_implementation=attention))
    for module in list(model.modules()):
        for name, child in module.named_children():
            if isinstance(child, LlamaRMSNorm):
                norm = nn.RMSNorm(child.weight.shape, eps=child.variance_epsilon)
                norm.weight = child.weight
                setattr(module, name, norm)
    return model


def sequence_losses(model: nn.Module, tokens: Tensor) -> Tensor:
    """Mean negative log-likelihood of the next token, in nats, of each sequence [n].

    Args:
        tokens: int64 [n, T]; every sequence has T − 1 targets, so the mean over sequences is the mean over targets.
    """
    logits = model(input_ids=tokens).logits[:, :-1]
    if logits.dtype in (torch.bfloat16, torch.float16):
        logits = logits.float()
    each = cross_entropy(logits.flatten(0, 1), tokens[:, 1:].flatten(), reduction="none")
    return each.view(len(tokens), -1).mean(1)


def describe(config: Mapping[str, Any], name: str, shape: Sequence[int]) -> Cut:
    """Component, depth and heads of a Llama parameter: queries and their output by query head, keys and values by their own.

    Args:
        config: as `llama_config` gives it.
        name, shape: of the parameter, by transformers' names.
    """
    layers = config["num_hidden_layers"]
    parts = name.split(".")
    if parts[1] == "layers":
        depth, projection = int(parts[2]) + 1, parts[-2]
        if projection in ("q_proj", "k_proj", "v_proj", "o_proj"):
            keys = projection in ("k_proj", "v_proj")
            queries = config["num_attention_heads"]
            heads = (config.get("num_key_value_heads") or queries) if keys else queries
            return Cut("attention", depth, projection, axis=int(projection == "o_proj"), blocks=heads)
        return Cut("MLP" if parts[3] == "mlp" else "norms", depth, projection)
    if parts[-2] == "embed_tokens":
        return Cut("input embedding", 0, "embed_tokens")
    return Cut("output embedding" if parts[0] == "lm_head" else "norms", layers + 1, parts[-2])


LLAMA = Architecture(make=make_llama, losses=sequence_losses, describe=describe, components=COMPONENTS)
