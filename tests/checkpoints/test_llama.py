"""Names and shapes that follow from a configuration are transformers' own."""

from __future__ import annotations

import re
from typing import Any

import pytest
import torch

from explaind.checkpoints.llama import parameter_shapes
from explaind.errors import StoreError
from tests.checkpoints.made import CONFIG, OTHER, TIED, make


@pytest.mark.parametrize("config", [CONFIG, OTHER, TIED], ids=["plain", "wide heads", "tied"])
def test_names_and_shapes_are_those_of_transformers(config: dict[str, Any]) -> None:
    with torch.device("meta"):
        model = make(config)
    assert list(parameter_shapes(config).items()) == [
        (name, tuple(p.shape)) for name, p in model.named_parameters()
    ]


def test_what_follows_from_the_rest_may_be_left_out() -> None:
    short = {key: value for key, value in CONFIG.items() if key not in ("num_key_value_heads", "head_dim")}
    assert parameter_shapes(short)["model.layers.0.self_attn.k_proj.weight"] == (16, 16)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"model_type": "gpt2"}, "model_type 'gpt2'"),
        ({"model_type": None}, "model_type None"),
        ({"attention_bias": True}, "attention_bias true|attention_bias True"),
        ({"mlp_bias": True}, "mlp_bias"),
        ({"intermediate_size": None}, "does not say intermediate_size"),
        ({"num_hidden_layers": 0}, "does not say num_hidden_layers"),
        ({"hidden_size": 18}, "do not fit together"),
        ({"num_key_value_heads": 3}, "do not fit together"),
    ],
)
def test_other_configurations_are_refused(change: dict[str, Any], words: str) -> None:
    with pytest.raises(StoreError) as caught:
        parameter_shapes({**CONFIG, **change}, "config.json")
    assert re.search(words, str(caught.value))
    assert "config.json" in str(caught.value)
