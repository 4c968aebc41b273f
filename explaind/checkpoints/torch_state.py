"""The state of AdamW, Adam or SGD as torch.save(optimizer.state_dict()) leaves it.

torch numbers parameters 0, 1, … group after group. If the optimizer was given names, its groups hold them (param_names), and
parameters that it was not given are constants.
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
from explaind.checkpoints.groups import hyperparameters_of, optimizer_of
from explaind.checkpoints.hyperparameters import Hyperparameters
from explaind.checkpoints.options import GroupedHyperparameters
from explaind.checkpoints.state import find_file
from explaind.checkpoints.tensor_files import TorchFile, read_json_file
from explaind.checkpoints.torch_names import listed, match_names
from explaind.errors import StoreError

__all__ = ["TorchState"]

FILES = ("optimizer.pt", "optimizer.pth", "optimizer.bin")
BESIDE = "hyperparameters.json"
OVERRIDES = ("lr", "clip_norm")


class TorchState:
    """State in a file of torch.save (see `explaind.checkpoints.state.OptimizerState`).

    The file does not know gradient clipping, nor a learning rate that is set only before the next update: both can be given in a
    hyperparameters.json beside it (`lr`, `clip_norm`). Without one, clip_norm is None, and `notes` says so.

    A parameter without state, where others have some, was never moved; only a model in which it is frozen can be explained
    with it.

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
        self._file = TorchFile(self.path, "the state_dict of torch.optim.AdamW, Adam or SGD")
        content = self._file.content()
        groups = content.get("param_groups") if isinstance(content, Mapping) else None
        state = content.get("state") if isinstance(content, Mapping) else None
        if not isinstance(groups, list) or not isinstance(state, Mapping) or not groups:
            raise StoreError(
                f"{self.path} is no state of an optimizer",
                expected="torch.save(optimizer.state_dict()): a dictionary with state and param_groups",
                got=", ".join(map(str, content)) if isinstance(content, Mapping) else type(content).__name__,
            )
        self._index, names, noted = match_names(self.path, groups, shapes)
        self._group_of = {name: group for group, some in zip(groups, names, strict=True) for name in some}
        self._sgd = {
            name for name, group in self._group_of.items() if optimizer_of(self.path, group) == "SGD"
        }
        steps, unused = self._check_state(state)
        hyperparameters = hyperparameters_of(self.path, groups, names, steps, every=shapes, unused=unused)
        self.hyperparameters, assumed = self._overridden(hyperparameters)
        self.notes = (
            *noted,
            *assumed,
            *_kind_of_decay(self.path, groups),
            *_skipped(self.path, steps, unused),
        )

    def moment(self, kind: str, name: str) -> Tensor:
        """See `OptimizerState.moment`; zeros before the first update of the parameter."""
        entry = self._entry(kind, name)
        return self._file.read(entry) if entry in self._file.entries else torch.zeros(self._shapes[name])

    def check_files(self) -> None:
        """See `OptimizerState.check_files`: torch records no digests."""

    def _entry(self, kind: str, name: str) -> str:
        if name in self._sgd and kind == "exp_avg":
            kind = "momentum_buffer"
        return f"state.{self._index.get(name)}.{kind}"

    def _check_state(self, state: Mapping[Any, Any]) -> tuple[dict[str, int], tuple[str, ...]]:
        """The number of updates by parameter (see `Options.step`), and those without state where others have some.

        Raises StoreError unless what has state has all of it, in its shape.
        """
        steps: dict[str, int] = {}
        for name, index in self._index.items():
            if name in self._sgd:
                steps[name] = int(self._entry("exp_avg", name) in self._file.entries)
                kinds = ("exp_avg",) * steps[name]
            else:
                steps[name] = int(state[index].get("step", -1)) if index in state else 0
                kinds = MOMENTS if index in state else ()
            for kind in kinds:
                entry = self._file.entries.get(self._entry(kind, name))
                if entry is None:
                    raise StoreError(
                        f"{self.path} holds no {kind} of {name}",
                        expected=f"a tensor under state, {index}, {kind}",
                        got=", ".join(map(str, state[index])) or "nothing",
                        remedy="only the state of AdamW, Adam and SGD can be read",
                    )
                check_entry(self.path, f"{kind} of {name}", entry, self._shapes[name], MOMENT_DTYPES)
            if kinds == MOMENTS and steps[name] < 1:
                raise StoreError(
                    f"{self.path} holds moments of {name}, but no number of updates that made them",
                    expected="a step of 1 or more",
                    got=str(state[index].get("step")),
                )
        stateless = {name for name in self._sgd if not self._group_of[name]["momentum"]}
        used = any(steps.values())
        return steps, tuple(n for n, step in steps.items() if used and step == 0 and n not in stateless)

    def _overridden(
        self, options: Hyperparameters | GroupedHyperparameters
    ) -> tuple[Hyperparameters | GroupedHyperparameters, tuple[str, ...]]:
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
        given = dict(given)
        if isinstance(options, GroupedHyperparameters) and "lr" in given:
            rate = given.pop("lr")
            if isinstance(options.lr, tuple):
                raise StoreError(
                    f"{beside} names one learning rate for groups of parameters whose rates differ",
                    expected="no lr, so that those of the state are taken",
                    got=f"{rate} for {', '.join(map(str, options.lr))}",
                    remedy="remove lr, and save the state with the rates of the next update",
                )
            by_name = {name: replace(one, lr=rate) for name, one in options.by_name.items()}
            options = replace(options, by_name=by_name)
        return replace(options, **given), () if "clip_norm" in given else (note,)


def _kind_of_decay(path: Path, groups: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Older torch does not say which of Adam and AdamW it was; they differ where weights decay."""
    unsaid = any(
        "betas" in group and "decoupled_weight_decay" not in group and group.get("weight_decay")
        for group in groups
    )
    return (
        (f"{path.name} does not say whether weights decay as in Adam or AdamW: AdamW was assumed.",)
        if unsaid
        else ()
    )


def _skipped(path: Path, steps: Mapping[str, int], unused: Sequence[str]) -> tuple[str, ...]:
    """Parameters that were not moved in every update, as where layers are frozen for a time."""
    counts = set(steps.values()) - {0}
    uneven = (
        f"{path.name} holds parameters that were moved {' and '.join(map(str, sorted(counts)))} times.",
    )
    missing = (f"{path.name} holds no state of {listed(unused)}: never moved, as frozen parameters are.",)
    return (*(uneven if len(counts) > 1 else ()), *(missing if unused else ()))
