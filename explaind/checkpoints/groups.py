"""The hyperparameters that the parameter groups of torch's AdamW, Adam or SGD hold, if they alone explain the next update."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from explaind.checkpoints.hyperparameters import Hyperparameters
from explaind.checkpoints.options import GroupedHyperparameters, Options
from explaind.errors import StoreError

__all__ = ["check_options", "hyperparameters_of", "optimizer_of"]


def check_options(source: object, group: Mapping[str, Any]) -> None:
    """Raise StoreError for options under which the update of AdamW is no sum of batch, momentum and decoupled decay."""
    _refuse_variants(source, group)
    if not group.get("decoupled_weight_decay", True) and group.get("weight_decay", 0) != 0:
        raise StoreError(
            f"{source} was made with Adam, whose weight decay is part of the gradient",
            expected="AdamW",
            got=f"decoupled_weight_decay=False, weight_decay={group['weight_decay']}",
            remedy="only AdamW is written; explain the live run with explaind.TrainingState instead",
        )


def optimizer_of(source: object, group: Mapping[str, Any], assumed: str = "AdamW") -> str:
    """ "AdamW", "Adam" or "SGD": whose options a group of parameters holds.

    Args:
        source: where it comes from, for messages.
        group: as in `optimizer.state_dict()["param_groups"]`.
        assumed: of AdamW and Adam, where the group does not say which.

    Raises:
        StoreError: another optimizer's.
    """
    if "betas" in group:
        # RAdam, NAdam and Adamax have betas as well, but never amsgrad.
        if "amsgrad" not in group:
            raise StoreError(
                f"{source} holds the options of an optimizer whose next update cannot be explained",
                expected="those of torch.optim.AdamW, torch.optim.Adam or torch.optim.SGD",
                got=f"{', '.join(map(str, group))}, without amsgrad",
            )
        return "AdamW" if group.get("decoupled_weight_decay", assumed == "AdamW") else "Adam"
    if "momentum" in group and "nesterov" in group:
        return "SGD"
    raise StoreError(
        f"{source} holds the options of an optimizer whose next update cannot be explained",
        expected="those of torch.optim.AdamW, torch.optim.Adam or torch.optim.SGD",
        got=", ".join(map(str, group)),
    )


def hyperparameters_of(
    source: object,
    groups: Sequence[Mapping[str, Any]],
    names: Sequence[Sequence[str]],
    steps: Mapping[str, int],
    *,
    every: Collection[str],
    assumed: str = "AdamW",
    unused: Collection[str] = (),
) -> Hyperparameters | GroupedHyperparameters:
    """Hyperparameters out of parameter groups.

    Args:
        source: where they come from, for messages.
        groups: as in `optimizer.state_dict()["param_groups"]`.
        names: the parameters of each group.
        steps: updates of each parameter so far (see `Options.step`).
        every: the model's parameters.
        assumed: as of `optimizer_of`.
        unused: as of `GroupedHyperparameters`.

    Returns:
        `Hyperparameters` where they can say it: AdamW, one value of everything for all parameters of the model, except that
        weight decay may be 0 for some. Else `GroupedHyperparameters`. clip_norm, which an optimizer does not know, is None.

    Raises:
        StoreError: an option is missing or cannot be replayed, or the optimizer is another one.
    """
    by_name: dict[str, Options] = {}
    for group, some in zip(groups, names, strict=True):
        kind = optimizer_of(source, group, assumed)
        _refuse_variants(source, group)
        taken = {"lr", "weight_decay"}
        taken |= {"momentum", "dampening"} if kind == "SGD" else {"betas", "eps"}
        values = {name: _plain(_option(source, group, name)) for name in sorted(taken)}
        nesterov = kind == "SGD" and bool(group["nesterov"])
        for name in some:
            try:
                by_name[name] = Options(kind, steps[name], **values, nesterov=nesterov)
            except StoreError as error:
                raise StoreError(
                    f"{error.problem} in {source}",
                    expected=error.expected,
                    got=error.got,
                    remedy=error.remedy,
                ) from error
    return _in_one(by_name, every, unused) or GroupedHyperparameters(by_name, None, tuple(unused))


def _in_one(
    by_name: Mapping[str, Options], every: Collection[str], unused: Collection[str]
) -> Hyperparameters | None:
    alike = {(o.optimizer, o.step, o.lr, o.betas, o.eps) for o in by_name.values()}
    decays = {options.weight_decay for options in by_name.values()} - {0.0}
    if unused or set(by_name) != set(every) or len(alike) != 1 or len(decays) > 1:
        return None
    optimizer, step, lr, betas, eps = alike.pop()
    if optimizer != "AdamW":
        return None
    undecayed = tuple(name for name, options in by_name.items() if options.weight_decay == 0)
    return Hyperparameters(step, lr, betas, eps, max(decays, default=0.0), undecayed, None)


def _refuse_variants(source: object, group: Mapping[str, Any]) -> None:
    for name in ("amsgrad", "maximize"):
        if group.get(name):
            raise StoreError(
                f"{source} was made with {name}, which cannot be replayed",
                expected=f"{name}=False",
                got=f"{name}={group[name]}",
                remedy="only plain AdamW, Adam and SGD are explained",
            )


def _option(source: object, group: Mapping[str, Any], name: str) -> Any:
    if name not in group:
        raise StoreError(
            f"The groups of parameters in {source} do not say {name}",
            expected="the options of torch.optim.AdamW, torch.optim.Adam or torch.optim.SGD",
            got=", ".join(map(str, group)),
        )
    return group[name]


def _plain(value: Any) -> Any:
    """A number; optimizers that can be captured in CUDA graphs keep theirs as tensors."""
    return tuple(float(part) for part in value) if isinstance(value, list | tuple) else float(value)
