"""The state of AdamW as torch.save(optimizer.state_dict()) leaves it.

torch numbers parameters 0, 1, … group after group. If the optimizer was given names, its groups hold them (param_names).
Otherwise the numbers are matched to the model's order: for one group directly; for two groups, one of matrices and one of vectors
(the usual way to leave the norms undecayed), each kind in the model's order. Anything else is ambiguous, and refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explaind.checkpoints.checks import MOMENT_DTYPES, MOMENTS, check_entry
from explaind.checkpoints.groups import options_of
from explaind.checkpoints.hyperparameters import Hyperparameters
from explaind.checkpoints.state import find_file
from explaind.checkpoints.tensor_files import TorchFile, read_json_file
from explaind.errors import StoreError

__all__ = ["TorchState"]

FILES = ("optimizer.pt", "optimizer.pth", "optimizer.bin")
BESIDE = "hyperparameters.json"
OVERRIDES = ("lr", "clip_norm")


class TorchState:
    """State in a file of torch.save (see `explaind.checkpoints.state.OptimizerState`).

    The file does not know gradient clipping, nor a learning rate that is set only before the next update: both can be given in a
    hyperparameters.json beside it (`lr`, `clip_norm`). Without one, clip_norm is None, and `notes` says so.

    Args:
        path: the file, or the folder of an optimizer.pt.
        shapes: of the parameters, by name, in the model's order.

    Raises:
        StoreError: a missing or damaged file, one that holds code, the state of another model or another optimizer, or groups
            whose order does not tell which parameter is which.
    """

    def __init__(self, path: Path, shapes: dict[str, tuple[int, ...]]) -> None:
        self.path = find_file(path, FILES)
        self._shapes = shapes
        self._file = TorchFile(self.path, "the state_dict of torch.optim.AdamW")
        content = self._file.content()
        groups = content.get("param_groups") if isinstance(content, Mapping) else None
        state = content.get("state") if isinstance(content, Mapping) else None
        if not isinstance(groups, list) or not isinstance(state, Mapping) or not groups:
            raise StoreError(
                f"{self.path} is no state of an optimizer",
                expected="torch.save(optimizer.state_dict()): a dictionary with state and param_groups",
                got=", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__,
            )
        self._index, names, noted = _match(self.path, groups, shapes)
        step = self._check_state(state)
        self.hyperparameters, assumed = self._overridden(options_of(self.path, groups, names, step))
        self.notes = (*noted, *assumed, *_kind_of_decay(self.path, groups))

    def moment(self, kind: str, name: str) -> Tensor:
        """See `OptimizerState.moment`; zeros before the first update."""
        if self.hyperparameters.step == 0:
            return torch.zeros(self._shapes[name])
        return self._file.read(f"state.{self._index[name]}.{kind}")

    def check_files(self) -> None:
        """See `OptimizerState.check_files`: torch records no digests."""

    def _check_state(self, state: Mapping[Any, Any]) -> int:
        """The number of updates; raises unless every parameter has moments in its shape after that many."""
        if not state:
            return 0
        steps: dict[int, str] = {}
        for name, index in self._index.items():
            for kind in MOMENTS:
                entry = self._file.entries.get(f"state.{index}.{kind}")
                if entry is None:
                    raise StoreError(
                        f"{self.path} holds no {kind} of {name}",
                        expected=f"a tensor under state, {index}, {kind}",
                        got=f"state of {len(state)} parameters",
                        remedy="only AdamW on a model whose parameters are all trained can be read",
                    )
                check_entry(self.path, f"{kind} of {name}", entry, self._shapes[name], MOMENT_DTYPES)
            steps.setdefault(int(state[index].get("step", -1)), name)
        if len(steps) > 1 or min(steps) < 1:
            found = ", ".join(f"{step} for {name}" for step, name in steps.items())
            raise StoreError(
                f"The parameters in {self.path} were not all updated equally often",
                expected="one number of updates, 1 or more",
                got=found,
                remedy="only AdamW on a model whose parameters are all trained can be read",
            )
        return next(iter(steps))

    def _overridden(self, options: Hyperparameters) -> tuple[Hyperparameters, tuple[str, ...]]:
        beside = self.path.with_name(BESIDE)
        given = read_json_file(beside) if beside.is_file() else {}
        if not isinstance(given, Mapping) or set(given) - set(OVERRIDES):
            raise StoreError(
                f"{beside} holds what the state of torch's optimizer says itself",
                expected=f"at most {' and '.join(OVERRIDES)}",
                got=", ".join(given) if isinstance(given, Mapping) else type(given).__name__,
                remedy="remove the other entries",
            )
        note = f"{self.path.name} does not say whether gradients were clipped: no clipping is assumed."
        return replace(options, **given), () if "clip_norm" in given else (note,)


def _match(
    path: Path, groups: Sequence[Mapping[str, Any]], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, int], list[list[str]], tuple[str, ...]]:
    """Number by name, the names of each group, and notes."""
    numbers = [list(group["params"]) for group in groups]
    count = sum(map(len, numbers))
    if count != len(shapes):
        raise StoreError(
            f"{path} is the optimizer state of another model",
            expected=f"{len(shapes)} parameters",
            got=f"{count} parameters",
            remedy="check that the optimizer's state and the weights are of one checkpoint",
        )
    notes: tuple[str, ...] = ()
    if all("param_names" in group for group in groups):
        names = [list(group["param_names"]) for group in groups]
        every = [name for some in names for name in some]
        if sorted(every) != sorted(shapes) or list(map(len, names)) != list(map(len, numbers)):
            unknown = [name for name in every if name not in shapes]
            raise StoreError(
                f"{path} names other parameters than the model has",
                expected="the names in the model, each once",
                got=unknown[0] if unknown else "names that are repeated or missing",
            )
    elif len(groups) == 1:
        names = [list(shapes)]
    else:
        names = _by_kind(path, [len(part) for part in numbers], shapes)
        notes = (f"{path.name} holds no param_names: each group was taken to follow the model's order.",)
    return (
        {
            name: index
            for part, some in zip(numbers, names, strict=True)
            for index, name in zip(part, some, strict=True)
        },
        names,
        notes,
    )


def _by_kind(path: Path, counts: list[int], shapes: Mapping[str, tuple[int, ...]]) -> list[list[str]]:
    """Names of two groups, one of the matrices and one of the vectors, in either order."""
    kinds = [[n for n, shape in shapes.items() if (len(shape) < 2) == vector] for vector in (False, True)]
    for names in (kinds, kinds[::-1]):
        if counts == [len(part) for part in names]:
            return names
    raise StoreError(
        f"The groups of parameters in {path} do not tell which parameter is which",
        expected="one group, or one of the matrices and one of the vectors, or groups with param_names",
        got=f"groups of {', '.join(map(str, counts))} parameters without names",
        remedy="give the optimizer model.named_parameters(), so that its state_dict holds the names",
    )


def _kind_of_decay(path: Path, groups: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Older torch does not say which of Adam and AdamW it was; they differ where weights decay."""
    unsaid = any("decoupled_weight_decay" not in group and group.get("weight_decay") for group in groups)
    return (
        (f"{path.name} does not say whether weights decay as in Adam or AdamW: AdamW was assumed.",)
        if unsaid
        else ()
    )
