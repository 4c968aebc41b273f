"""Units: dot products by block, and coordinates."""

from __future__ import annotations

import pytest
import torch

from explaind.errors import QueryError
from explaind.experiments.eurollm.model import describe
from explaind.features import units as module
from explaind.features.units import Cut, make_units
from tests.updates.tiny import CONFIG, make, units_of


@pytest.mark.parametrize("block", [1, 7, 1 << 20])
@pytest.mark.parametrize(("axis", "blocks"), [(0, 1), (0, 3), (1, 2)])
def test_dot_is_the_sum_over_each_block(
    axis: int, blocks: int, block: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BLOCK", block)
    a, b = torch.randn(2, 6, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    units = make_units({"w": (6, 4)}, lambda name, shape: Cut("x", 1, "w", axis, blocks))
    expected = torch.stack([part.sum() for part in (a * b).chunk(blocks, axis)])
    torch.testing.assert_close(units.dot("w", a, b), expected, rtol=1e-14, atol=1e-14)


def test_vectors_and_scalars_are_units() -> None:
    units = make_units({"norm": (5,), "scale": ()})
    assert float(units.dot("norm", torch.arange(5.0), torch.ones(5))) == 10
    assert float(units.dot("scale", torch.tensor(2.0), torch.tensor(3.0))) == 6
    assert units.size == 2


def test_a_llamas_coordinates() -> None:
    _, model, _ = make(0)
    units = units_of(model)
    coordinates = units.coordinates()
    assert units.size == len(coordinates["parameter"])
    rows = list(zip(*coordinates.values(), strict=True))
    attention = "model.layers.1.self_attn"
    assert [row[4] for row in rows if row[0] == f"{attention}.q_proj.weight"] == [0, 1, 2, 3]
    assert [row[4] for row in rows if row[0] == f"{attention}.v_proj.weight"] == [0, 1]
    assert (f"{attention}.o_proj.weight", "attention", 2, "o_proj", 3) in rows
    assert ("model.embed_tokens.weight", "input embedding", 0, "embed_tokens", -1) in rows
    assert ("lm_head.weight", "output embedding", 3, "lm_head", -1) in rows
    assert ("model.norm.weight", "norms", 3, "norm", -1) in rows
    assert (
        "model.layers.0.post_attention_layernorm.weight",
        "norms",
        1,
        "post_attention_layernorm",
        -1,
    ) in rows
    assert {row[1] for row in rows if ".mlp." in row[0]} == {"MLP"}
    assert describe(CONFIG, f"{attention}.o_proj.weight", (16, 16)).axis == 1


def test_a_tensor_that_does_not_divide_is_refused() -> None:
    with pytest.raises(
        QueryError, match="w cannot be divided into equal units. Expected: axis 0 to be a multiple of 4"
    ):
        make_units({"w": (6, 4)}, lambda name, shape: Cut("x", 1, "w", 0, 4))
