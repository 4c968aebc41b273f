"""A checkpoint as the explainer sees it: weights, moments and hyperparameters, one tensor at a time.

Every tensor that is returned is the caller's own copy, to compute in place with; nothing of the model stays in memory.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explaind.checkpoints.checks import check_model, check_values
from explaind.checkpoints.hyperparameters import Hyperparameters
from explaind.checkpoints.megatron import MegatronState
from explaind.checkpoints.state import ExplaindState, OptimizerState
from explaind.checkpoints.torch_state import TorchState
from explaind.checkpoints.weights import Weights
from explaind.errors import ConfigError

__all__ = ["FORMATS", "Checkpoint", "Hyperparameters", "open_checkpoint"]

FORMATS = ("explaind", "torch", "megatron")


class Checkpoint:
    """Weights and an optimizer's state after some number of updates (`open_checkpoint`).

    Args:
        name: appears in messages, tables and figures.
        weights: reader of the weights.
        state: reader of the moments and the hyperparameters.

    Attributes:
        name: as given.
        config: of the model, as in config.json.
        hyperparameters: of the update that follows; `GroupedHyperparameters` where it is Adam's or SGD's, or groups differ.
        notes: what the readers had to decide, such as rows of padding that were cut; full sentences.
    """

    def __init__(self, name: str, weights: Weights, state: OptimizerState) -> None:
        self.name = name
        self.config: dict[str, Any] = weights.config
        self.hyperparameters = state.hyperparameters
        self.notes: tuple[str, ...] = state.notes
        self._weights, self._state = weights, state
        self.hyperparameters.check_names(self.names(), state.path)

    def names(self) -> tuple[str, ...]:
        """Parameter names, in the order of the model's named_parameters()."""
        return tuple(self._weights.shapes)

    def shape(self, name: str) -> tuple[int, ...]:
        """The shape of a parameter, as the configuration implies it."""
        return self._weights.shapes[name]

    def weight(self, name: str) -> Tensor:
        """θ of a parameter, in its shape and in the dtype it is stored in."""
        return self._weights.read(name)

    def exp_avg(self, name: str) -> Tensor:
        """The first moment m of a parameter, of SGD its momentum buffer, in its shape, float32 or bfloat16."""
        return self._state.moment("exp_avg", name)

    def exp_avg_sq(self, name: str) -> Tensor:
        """The second moment v of a parameter, in its shape, float32 or bfloat16; of Adam and AdamW."""
        return self._state.moment("exp_avg_sq", name)

    @torch.no_grad()
    def load_weights(self, model: nn.Module) -> None:
        """Copy θ into a model, tensor by tensor, in the model's own dtype and on its device.

        Raises:
            StoreError: the model's parameters have other names or shapes; nothing was copied then.
        """
        parameters = dict(model.named_parameters())
        check_model(self.name, self._weights.shapes, parameters)
        for name, parameter in parameters.items():
            parameter.copy_(self.weight(name))

    def verify(self) -> None:
        """Read everything once: recorded digests, and whether every value is possible.

        Raises:
            StoreError: a file differs from its digest; a value is infinite or NaN; a second moment is negative. Both are named.
        """
        self._state.check_files()
        self._weights.verify()
        for name in self.names():
            options = self.hyperparameters.of(name)
            for kind in options.moments if options else ():
                values = self._state.moment(kind, name)
                check_values(self._state.path, f"{kind}.{name}", values, signed=kind == "exp_avg")


def open_checkpoint(
    weights: Path, *, optimizer: Path | None = None, format: str = "explaind", name: str | None = None
) -> Checkpoint:
    """Open a checkpoint; reads configurations and headers, no tensor.

    Args:
        weights: folder with config.json and the weights as safetensors, in one file or in shards with their index.
        optimizer: file or folder of the optimizer's state; None: the same folder.
        format: of the optimizer's state: "explaind" (of `write_checkpoint`), "torch" (torch.save of the state_dict of AdamW,
            Adam or SGD) or "megatron" (fused tensors and hyperparameters.json).
        name: of the checkpoint; None: the folder's.

    Raises:
        ConfigError: no such format.
        StoreError: what is there cannot be read, is damaged, or is not of one model; names the file and the tensor.
    """
    if format not in FORMATS:
        raise ConfigError(
            "The optimizer's state has no such format.", expected=", ".join(FORMATS), got=repr(format)
        )
    weights = Path(weights)
    where = weights if optimizer is None else Path(optimizer)
    read = Weights(weights)
    state: OptimizerState
    if format == "explaind":
        whole = where.resolve() == weights.resolve()
        state = ExplaindState(where, read.shapes, whole=whole)
    elif format == "torch":
        state = TorchState(where, read.shapes)
    else:
        state = MegatronState(where, read.config)
    return Checkpoint(name or weights.resolve().name, read, state)
