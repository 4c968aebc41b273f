"""Write a checkpoint: a folder that transformers' from_pretrained reads, with the state of AdamW beside the weights."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from explaind.checkpoints.checks import (
    MOMENT_DTYPES,
    MOMENTS,
    WEIGHT_DTYPES,
    check_entry,
    check_names,
    check_values,
)
from explaind.checkpoints.groups import check_options
from explaind.checkpoints.hyperparameters import Hyperparameters
from explaind.checkpoints.llama import parameter_shapes
from explaind.checkpoints.state import OPTIMIZER, STATE, seal
from explaind.checkpoints.tensor_files import Entry
from explaind.checkpoints.weights import CONFIG, MODEL
from explaind.errors import StoreError

__all__ = ["write_checkpoint"]


def write_checkpoint(
    folder: Path,
    model: nn.Module,
    optimizer: torch.optim.AdamW,
    hyperparameters: Hyperparameters,
    config: dict[str, Any],
) -> None:
    """Write the model and its optimizer between two updates.

    The folder appears complete or not at all. Before the first update (step 0) AdamW has no moments yet; zeros are written.

    Args:
        folder: to create.
        model: a Llama of transformers, in float32, float16 or bfloat16, on any device.
        optimizer: over exactly the model's parameters.
        hyperparameters: of the update that follows; `step` must be the number of updates that the optimizer has made.
        config: of the model, as in transformers' config.json.

    Raises:
        StoreError: the folder exists or cannot be written; model, optimizer, configuration and hyperparameters are not of one
            run; a value is not finite; an option of the optimizer that cannot be replayed (amsgrad, maximize).
    """
    folder = Path(folder)
    if folder.exists():
        raise StoreError(f"{folder} exists already", expected="a new path", remedy="remove it first")
    parameters = {name: parameter.detach() for name, parameter in model.named_parameters()}
    _check_model(folder, parameters, config)
    hyperparameters.check_names(tuple(parameters), folder)
    moments = _moments(model, optimizer, hyperparameters.step)
    for name, values in (*parameters.items(), *moments.items()):
        check_values("the training run", name, values, signed=not name.startswith("exp_avg_sq."))
    # One name per destination: what a killed writer left is removed by the next.
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir(parents=True)
        _save(parameters, partial / MODEL)
        _save(moments, partial / OPTIMIZER)
        (partial / CONFIG).write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
        content = seal(partial, hyperparameters, (CONFIG, MODEL, OPTIMIZER))
        (partial / STATE).write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        for name in (CONFIG, MODEL, OPTIMIZER, STATE):
            _to_disk(partial / name)
        partial.replace(folder)
    except OSError as error:
        raise StoreError(
            f"The checkpoint {folder} could not be written",
            got=str(error),
            remedy="check the free space and the permissions",
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def _check_model(folder: Path, parameters: Mapping[str, Tensor], config: Mapping[str, Any]) -> None:
    shapes = parameter_shapes(config, f"The configuration of {folder}")
    check_names(shapes, parameters, lambda name: "The model")
    for name, shape in shapes.items():
        check_entry("the model", name, _entry(parameters[name]), shape, WEIGHT_DTYPES)


def _moments(model: nn.Module, optimizer: torch.optim.AdamW, step: int) -> dict[str, Tensor]:
    """Moments by exp_avg.<name> and exp_avg_sq.<name>; parameters are told by identity, not by their order."""
    if not isinstance(optimizer, torch.optim.AdamW):
        raise StoreError(
            "The state of this optimizer cannot be written",
            expected="torch.optim.AdamW",
            got=type(optimizer).__name__,
        )
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for group in optimizer.param_groups:
        check_options("The optimizer's state", group)
    named = dict(model.named_parameters())
    for name, parameter in named.items():
        if id(parameter) not in held:
            raise StoreError(
                f"The optimizer does not hold the parameter {name}",
                expected="an optimizer over exactly the model's parameters",
                got=f"{len(held)} parameters without this one",
                remedy="make the optimizer from model.parameters()",
            )
    if len(held) != len(named):
        raise StoreError(
            "The optimizer holds parameters that are not the model's",
            expected=f"{len(named)} parameters",
            got=f"{len(held)} parameters",
            remedy="make the optimizer from model.parameters()",
        )
    moments = {}
    for kind in MOMENTS:
        for name, parameter in named.items():
            state = optimizer.state.get(parameter) or {}
            done = int(state.get("step", 0))
            if done != step:
                raise StoreError(
                    f"The optimizer's state and the hyperparameters differ in the number of updates of {name}",
                    expected=f"{step} updates, as hyperparameters.step says",
                    got=f"{done} updates",
                    remedy="every parameter must be trained in every update, and step must count these",
                )
            values = state.get(kind)
            moments[f"{kind}.{name}"] = torch.zeros(parameter.shape) if values is None else values.detach()
            entry = _entry(moments[f"{kind}.{name}"])
            check_entry(
                "the optimizer's state", f"{kind}.{name}", entry, tuple(parameter.shape), MOMENT_DTYPES
            )
    return moments


def _entry(tensor: Tensor) -> Entry:
    return Entry(str(tensor.dtype).removeprefix("torch."), tuple(tensor.shape))


def _save(tensors: Mapping[str, Tensor], path: Path) -> None:
    save_file(
        {name: tensor.contiguous() for name, tensor in tensors.items()}, path, metadata={"format": "pt"}
    )


def _to_disk(path: Path) -> None:
    """The renaming must not reach the disk before what is renamed."""
    with path.open("rb") as stream:
        os.fsync(stream.fileno())
