"""What cannot be recorded faithfully is refused, in one sentence that names the option.

The method attributes each update to its samples. Where the update is not a known function of per-sample gradients
(a closure, a batch statistic), numbers would be wrong without looking wrong.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import torch
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

from explaind.errors import RecordingError
from explaind.optimizers import LINEAR, REASONS, find_rule
from explaind.recording.linear import numbers
from explaind.recording.together import Together

FLAGS = ("nesterov", "maximize", "amsgrad", "capturable", "differentiable", "decoupled_weight_decay")
UNSUPPORTED = ("capturable", "differentiable")


def refuse(problem: str, expected: str, got: str, remedy: str) -> None:
    """Raise the refusal."""
    raise RecordingError(problem, expected=expected, got=got, remedy=remedy)


def group_names(optimizer: Optimizer | Together) -> tuple[str, ...]:
    """`optimizer_name` of each parameter group."""
    members = optimizer.members if isinstance(optimizer, Together) else (optimizer,)
    return tuple(name for one in members for name in [optimizer_name(one)] * len(one.param_groups))


def optimizer_name(optimizer: Optimizer) -> str:
    """ "AdamW", "Adam", "SGD" or a name of `explaind.optimizers.LINEAR`: which equations the updates follow.

    Raises:
        RecordingError: another optimizer (subclasses too, whose step may differ), or groups that mix Adam and AdamW.
    """
    rule = find_rule(optimizer)
    if rule is not None:
        for group in optimizer.param_groups:
            if (problem := rule.check(numbers(group))) is not None:
                refuse(*problem, "train without it")
        return rule.name
    if type(optimizer) not in (AdamW, Adam, SGD):
        name = type(optimizer).__name__
        reason = f": {REASONS[name]}" if name in REASONS else ""
        refuse(
            f"The optimizer {name} cannot be recorded{reason}",
            f"torch.optim.AdamW, Adam or SGD itself, or one of {', '.join(LINEAR)}",
            f"{type(optimizer).__module__}.{type(optimizer).__qualname__}",
            "train with one of these",
        )
    if isinstance(optimizer, SGD):
        return "SGD"
    decoupled = {bool(group.get("decoupled_weight_decay", False)) for group in optimizer.param_groups}
    if len(decoupled) > 1:
        refuse(
            "Parameter groups with and without decoupled_weight_decay cannot be recorded together",
            "the same value in every group",
            "both",
            "set decoupled_weight_decay alike",
        )
    return "AdamW" if decoupled.pop() else "Adam"


def option_flags(optimizer: Optimizer | Together) -> tuple[dict[str, bool], ...]:
    """The on-off options of every group, those without a recorded equation refused."""
    if isinstance(optimizer, Together):
        return tuple(flags for member in optimizer.members for flags in option_flags(member))
    rule = find_rule(optimizer)
    names = FLAGS if rule is None else (*FLAGS, *rule.flags)
    flags = tuple({name: bool(group.get(name, False)) for name in names} for group in optimizer.param_groups)
    for index, group in enumerate(flags):
        for name in UNSUPPORTED:
            if group[name]:
                refuse(
                    f"The option {name}=True of parameter group {index} cannot be recorded",
                    f"{name}=False",
                    "True",
                    f"train without {name}",
                )
    if not isinstance(optimizer, SGD):
        _check_option_precision(optimizer)
    return flags


def _check_option_precision(optimizer: Optimizer) -> None:
    """Refuse options given as tensors of less precision than the update is computed in.

    Without a fused kernel, torch's Adam, AdamW and others combine them with each other first, 1 − lr·λ or lr / (1 − β₁ᵗ), in the
    tensors' own precision: the update is then off from its equations by that rounding. SGD uses each option by itself.
    """
    for index, group in enumerate(optimizer.param_groups):
        dtype = group["params"][0].dtype if group["params"] else torch.float32
        # Powers of a β lose more than they hold: 1 − β₂ᵗ is the difference of two numbers near one.
        needed = {"lr": dtype, "weight_decay": dtype, "eps": dtype, "betas": torch.float64}
        for option, least in needed.items():
            given = group.get(option)
            for value in given if isinstance(given, tuple | list) else (given,):
                if (
                    isinstance(value, Tensor)
                    and not group.get("fused")
                    and value.dtype.itemsize < least.itemsize
                ):
                    refuse(
                        f"The option {option} of parameter group {index} is a tensor of too little precision",
                        f"a number, or a tensor of {least}",
                        f"a tensor of {value.dtype}, in which torch would round the update",
                        f"pass {option} as Python numbers",
                    )


def check_parameters(
    named: Iterable[tuple[str, Tensor]], optimizer: Optimizer | Together, later: Collection[str] = ()
) -> None:
    """Refuse dtypes the ledger cannot replay, and parameters the model does not have."""
    named = list(named)
    known = {id(parameter) for _, parameter in named}
    held = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    if foreign := len(held - known):
        refuse(
            f"The optimizer holds {foreign} parameters that are not in the model",
            "parameters of the model alone",
            f"{foreign} others",
            "pass the module that contains all of them",
        )
    dtypes: dict[torch.dtype, str] = {}
    for name, parameter in named:
        if isinstance(parameter, nn.parameter.UninitializedTensorMixin):
            refuse(
                f"Parameter {name} has no shape yet",
                "initialised parameters",
                "a lazy module",
                "run one forward pass before recording",
            )
        if id(parameter) not in held and name not in later:
            continue
        if parameter.dtype not in (torch.float32, torch.float64) or parameter.layout != torch.strided:
            refuse(
                f"Parameter {name} cannot be recorded",
                "dense float32 or float64",
                f"{parameter.layout}, {parameter.dtype}",
                "train in float32 or float64",
            )
        dtypes.setdefault(parameter.dtype, name)
    if len(dtypes) > 1:
        refuse(
            "Parameters of several dtypes cannot be recorded together",
            "one dtype",
            ", ".join(f"{name}: {dtype}" for dtype, name in dtypes.items()),
            "convert the model to one of them",
        )
