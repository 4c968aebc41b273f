"""What explaining a checkpoint needs before it computes: the text, the checkpoint, and a model of its shape."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from explaind.checkpoints import Checkpoint, open_checkpoint
from explaind.errors import ConfigError, DataError
from explaind.experiments.language.pretraining import Pretraining, load
from explaind.runtime.device import find_device, on

__all__ = ["cast_parameters", "open_for"]

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float64": torch.float64}


def open_for(
    config: Mapping[str, Any], tokens: Path, name: str, checkpoints: Path | None
) -> tuple[Pretraining, Checkpoint, nn.Module]:
    """The data, the checkpoint, read once and checked, and a model of its shape where computations run.

    Args:
        config: `checkpoints`, `influence.weights`, and what `explaind.experiments.language.pretraining.load` needs.
        tokens: store of packed sequences.
        name: of the checkpoint.
        checkpoints: the folder that our own training wrote; None for other sources.

    Raises:
        ConfigError, DataError, StoreError: what does not exist, does not fit, or is damaged; names file and tensor.
    """
    opened = _checkpoint(config["checkpoints"], name, checkpoints)
    opened.verify()
    experiment = load(config, tokens)
    for key, got, what in (
        ("vocab_size", experiment.tokens.vocabulary, "tokens of the vocabulary"),
        ("max_position_embeddings", experiment.tokens.train.shape[1], "tokens in a sequence"),
    ):
        if got > opened.config[key]:
            raise DataError(
                f"The text does not fit the checkpoint {name}.",
                expected=f"at most {opened.config[key]} {what} ({key} in its config.json)",
                got=f"{got} in {tokens}",
                remedy="Choose the checkpoint's own tokenizer with data.tokenizer, or a smaller data.context.",
            )
    with on(find_device()):
        model = cast_parameters(
            experiment.architecture.make(opened.config), DTYPES[config["influence"]["weights"]]
        )
    return experiment, opened, model.eval()


def _checkpoint(chosen: Mapping[str, Any], name: str, trained: Path | None) -> Checkpoint:
    """One checkpoint of the configured source."""
    if chosen["source"] == "trained":
        return open_checkpoint(trained / name)
    state, format = chosen["optimizer"]["folder"], chosen["optimizer"]["format"]
    if state is None and format != "explaind":
        raise ConfigError(
            "An update cannot be simulated without the optimizer's state.",
            expected="checkpoints.optimizer.folder: a folder with one sub-folder of optimizer state per checkpoint",
            got="null",
            remedy="The hub holds weights only; ask those who trained the model for the state.",
        )
    if chosen["source"] == "hub":
        from explaind.checkpoints.hub import fetch_revision

        weights = fetch_revision(chosen["repository"], name)
    else:
        weights = Path(chosen["folder"]) / name
    return open_checkpoint(weights, optimizer=Path(state) / name if state else None, format=format, name=name)


def cast_parameters(model: nn.Module, dtype: torch.dtype) -> nn.Module:
    """The model with parameters of another precision; buffers, such as the frequencies of rotary positions, keep theirs."""
    model.zero_grad(set_to_none=True)
    for parameter in model.parameters():
        parameter.data = parameter.data.to(dtype)
    return model
