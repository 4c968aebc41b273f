"""The hyperparameters that the parameter groups of a torch.optim.AdamW hold, if AdamW alone explains the next update."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from explaind.checkpoints.hyperparameters import Hyperparameters
from explaind.errors import StoreError

__all__ = ["check_options", "options_of"]


def check_options(source: object, group: Mapping[str, Any]) -> None:
    """Raise StoreError for options under which the update is no sum of batch, momentum and weight decay."""
    for name in ("amsgrad", "maximize"):
        if group.get(name):
            raise StoreError(
                f"{source} was made with {name}, which cannot be replayed",
                expected=f"{name}=False",
                got=f"{name}={group[name]}",
                remedy="only plain AdamW is explained",
            )
    if not group.get("decoupled_weight_decay", True) and group.get("weight_decay", 0) != 0:
        raise StoreError(
            f"{source} was made with Adam, whose weight decay is part of the gradient",
            expected="AdamW",
            got=f"decoupled_weight_decay=False, weight_decay={group['weight_decay']}",
            remedy="only AdamW is explained",
        )


def options_of(
    source: object, groups: Sequence[Mapping[str, Any]], names: Sequence[Sequence[str]], step: int
) -> Hyperparameters:
    """Hyperparameters out of parameter groups.

    Args:
        source: where they come from, for messages.
        groups: as in `optimizer.state_dict()["param_groups"]`.
        names: the parameters of each group.
        step: updates made so far.

    Returns:
        The hyperparameters; clip_norm, which an optimizer does not know, is None.

    Raises:
        StoreError: an option is missing, differs between the groups, or cannot be replayed.
    """
    found: dict[str, Any] = {}
    for name in ("lr", "betas", "eps"):
        values = [_plain(_option(source, group, name)) for group in groups]
        if any(value != values[0] for value in values):
            raise StoreError(
                f"The groups of parameters in {source} differ in {name}",
                expected="one value for all parameters",
                got=", ".join(map(str, values)),
                remedy="only weight_decay may differ, between one value and 0",
            )
        found[name] = values[0]
    decays = [_plain(_option(source, group, "weight_decay")) for group in groups]
    if len(set(decays) - {0.0}) > 1:
        raise StoreError(
            f"The groups of parameters in {source} differ in weight_decay",
            expected="one value, and 0 for undecayed parameters",
            got=", ".join(map(str, decays)),
        )
    for group in groups:
        check_options(source, group)
    undecayed = {name for decay, some in zip(decays, names, strict=True) if decay == 0 for name in some}
    return Hyperparameters(
        step=step,
        **found,
        weight_decay=max(decays),
        undecayed=tuple(name for some in names for name in some if name in undecayed),
        clip_norm=None,
    )


def _option(source: object, group: Mapping[str, Any], name: str) -> Any:
    if name not in group:
        raise StoreError(
            f"The groups of parameters in {source} do not say {name}",
            expected="the options of torch.optim.AdamW",
            got=", ".join(map(str, group)),
        )
    return group[name]


def _plain(value: Any) -> Any:
    """A number; optimizers that can be captured in CUDA graphs keep theirs as tensors."""
    return tuple(float(part) for part in value) if isinstance(value, list | tuple) else float(value)
