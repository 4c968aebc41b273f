"""Damage is an error that names the file and the tensor, never a result."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from explaind.checkpoints import open_checkpoint
from explaind.errors import ConfigError, StoreError
from tests.checkpoints.made import cut, edit, flip, shard

MODEL, OPTIMIZER = "model.safetensors", "optimizer.safetensors"
NORM, QUERY = "model.norm.weight", "model.layers.1.self_attn.q_proj.weight"


def refused(folder: Path, *words: str, optimizer: Path | None = None) -> None:
    with pytest.raises(StoreError) as caught:
        open_checkpoint(folder, optimizer=optimizer)
    for word in words:
        assert word in str(caught.value)


@pytest.mark.parametrize("file", [MODEL, OPTIMIZER, "config.json", "state.json"])
def test_a_missing_file(folder: Path, file: str) -> None:
    (folder / file).unlink()
    refused(folder, "state.json and" if file == "state.json" else file)


@pytest.mark.parametrize("file", [MODEL, OPTIMIZER])
def test_a_truncated_file(folder: Path, file: str) -> None:
    cut(folder / file)
    refused(folder, str(folder / file), "truncated")


@pytest.mark.parametrize("text", ["", "[1]", '{"model_type"'])
def test_a_damaged_configuration(folder: Path, text: str) -> None:
    (folder / "config.json").write_text(text)
    refused(folder, "config.json")


def test_an_altered_configuration(folder: Path) -> None:
    path = folder / "config.json"
    path.write_text(path.read_text().replace("1e-05", "1e-5"))
    refused(folder, f"{path} is truncated or altered", "bytes")


def test_a_damaged_state(folder: Path) -> None:
    body = json.loads((folder / "state.json").read_text())
    body["hyperparameters"]["lr"] = 0.02
    (folder / "state.json").write_text(json.dumps(body))
    refused(folder, "state.json is damaged")
    (folder / "state.json").write_text(json.dumps({**body, "schema_version": 9}))
    refused(folder, "another schema version", "version 9")


def test_a_missing_shard(folder: Path) -> None:
    _, second = shard(folder)
    (folder / second).unlink()
    refused(folder, second, "is missing", "model.layers.")


def test_a_truncated_shard(folder: Path) -> None:
    first, _ = shard(folder)
    cut(folder / first)
    refused(folder, first, "damaged or truncated", "which should hold")


def test_an_index_that_does_not_fit(folder: Path) -> None:
    first, second = shard(folder)
    path = folder / "model.safetensors.index.json"
    index = json.loads(path.read_text())
    names = index["weight_map"]
    for wrong, words in (
        ({**names, NORM: second if names[NORM] == first else first}, ()),
        ({**names, NORM: "../" + first}, ("outside its folder", NORM)),
        ({**names, "model.extra": first}, ("a tensor that the model does not have", "model.extra")),
        ({name: part for name, part in names.items() if name != NORM}, ("does not hold the tensor", NORM)),
        ({}, ("names no shards",)),
    ):
        path.write_text(json.dumps({"weight_map": wrong}))
        if words:
            refused(folder, "index.json", *words)
    (folder / first).write_bytes((folder / second).read_bytes())
    path.write_text(json.dumps(index))
    refused(folder, "does not hold the tensor", first)


def test_weights_as_a_pickle(folder: Path) -> None:
    (folder / MODEL).unlink()
    (folder / "pytorch_model.bin").write_bytes(b"")
    refused(folder, "pytorch_model.bin, a pickle", "safetensors")


def drop(name: str) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.pop(name)


def put(name: str, value: Tensor) -> Callable[[dict[str, Tensor]], object]:
    return lambda tensors: tensors.update({name: value})


@pytest.mark.parametrize(
    ("file", "change", "words"),
    [
        (MODEL, drop(NORM), ("does not hold the tensor model.norm.weight",)),
        (MODEL, put("model.extra", torch.ones(1)), ("model does not have", "model.extra")),
        (MODEL, put(QUERY, torch.ones(16, 8)), (QUERY, "another shape", "(16, 16)", "(16, 8)")),
        (MODEL, put(QUERY, torch.ones(16, 16).double()), (QUERY, "dtype", "float64")),
        (MODEL, put(QUERY, torch.ones(16, 16).to(torch.int8)), (QUERY, "dtype", "I8")),
        (OPTIMIZER, drop("exp_avg_sq." + NORM), ("does not hold the tensor exp_avg_sq.model.norm.weight",)),
        (OPTIMIZER, put("step", torch.ones(1)), ("model does not have", "step")),
        (OPTIMIZER, put("exp_avg." + QUERY, torch.ones(16)), ("exp_avg." + QUERY, "another shape")),
        (OPTIMIZER, put("exp_avg." + NORM, torch.ones(16).half()), ("exp_avg." + NORM, "float16")),
    ],
)
def test_tensors_that_do_not_fit(
    folder: Path, file: str, change: Callable[[dict[str, Tensor]], object], words: tuple[str, ...]
) -> None:
    edit(folder / file, change)
    refused(folder, file, *words)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_low_precision_weights_are_read(folder: Path, dtype: torch.dtype) -> None:
    edit(folder / MODEL, put(NORM, torch.ones(16, dtype=dtype)))
    assert open_checkpoint(folder).weight(NORM).dtype == dtype


@pytest.mark.parametrize(
    ("file", "name", "value", "words"),
    [
        (MODEL, NORM, float("nan"), "not finite"),
        (OPTIMIZER, "exp_avg." + NORM, float("-inf"), "not finite"),
        (OPTIMIZER, "exp_avg_sq." + NORM, float("nan"), "not finite"),
        (OPTIMIZER, "exp_avg_sq." + NORM, -1.0, "negative"),
    ],
)
def test_impossible_values_are_found_by_verify(
    folder: Path, file: str, name: str, value: float, words: str
) -> None:
    def change(tensors: dict[str, Tensor]) -> None:
        tensors[name][3] = value

    edit(folder / file, change)
    checkpoint = open_checkpoint(folder)
    with pytest.raises(StoreError) as caught:
        checkpoint.verify()
    assert f"The tensor {name} of {folder / file} is {words}" in str(caught.value)


def test_a_negative_first_moment_is_possible(folder: Path) -> None:
    edit(folder / OPTIMIZER, put("exp_avg." + NORM, -torch.ones(16)))
    open_checkpoint(folder).verify()


@pytest.mark.parametrize("file", [MODEL, OPTIMIZER])
def test_a_flipped_bit_is_found_by_verify(folder: Path, file: str) -> None:
    flip(folder / file)
    checkpoint = open_checkpoint(folder)
    with pytest.raises(StoreError) as caught:
        checkpoint.verify()
    assert f"{folder / file} is not the file that was written" in str(caught.value)


def test_state_of_another_model(folder: Path, tmp_path: Path) -> None:
    from explaind.checkpoints import write_checkpoint
    from tests.checkpoints.made import OTHER, adamw, make, options

    model = make(OTHER)
    write_checkpoint(tmp_path / "other", model, adamw(model), options(model, 0), OTHER)
    refused(folder, str(tmp_path / "other" / OPTIMIZER), optimizer=tmp_path / "other")


def test_no_such_folder_or_format(folder: Path, tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "config.json is missing")
    refused(
        folder, "There is no optimizer state", "explaind, torch or megatron", optimizer=tmp_path / "nowhere"
    )
    with pytest.raises(ConfigError, match="no such format"):
        open_checkpoint(folder, format="deepspeed")
