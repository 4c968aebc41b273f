"""The options of the update that follows, parameter by parameter: of torch's AdamW, Adam and SGD with any groups."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from explaind.errors import StoreError

__all__ = ["GroupedHyperparameters", "Options", "are_betas", "is_number", "refuse_option"]


@dataclass(frozen=True)
class Options:
    """What torch.optim does with one parameter tensor in the update that follows.

    Attributes:
        optimizer: "AdamW", "Adam" or "SGD": which equations it follows.
        step: updates that the tensor took part in; of SGD, which does not count, 1 if it has a momentum buffer and 0 if not.
        lr, weight_decay: of every optimizer.
        betas, eps: of Adam and AdamW.
        momentum, dampening, nesterov: of SGD.

    Raises:
        StoreError: a value is outside its range.
    """

    optimizer: str
    step: int
    lr: float
    weight_decay: float = 0.0
    betas: tuple[float, float] = (0.0, 0.0)
    eps: float = 0.0
    momentum: float = 0.0
    dampening: float = 0.0
    nesterov: bool = False

    def __post_init__(self) -> None:
        for name in ("lr", "weight_decay", "eps", "momentum"):
            value = getattr(self, name)
            if not (is_number(value) and value >= 0):
                refuse_option(name, self.optimizer, "a finite number, 0 or more", value)
        if not are_betas(self.betas):
            refuse_option("betas", self.optimizer, "two numbers, each at least 0 and below 1", self.betas)
        if not is_number(self.dampening):
            refuse_option("dampening", self.optimizer, "a finite number", self.dampening)

    @property
    def moments(self) -> tuple[str, ...]:
        """What of the optimizer's memory the update needs: the second moment is Adam's and AdamW's alone."""
        return ("exp_avg",) if self.optimizer == "SGD" else ("exp_avg", "exp_avg_sq")


@dataclass(frozen=True)
class GroupedHyperparameters:
    """Of one update of AdamW, Adam or SGD whose options may differ from parameter to parameter.

    Attributes:
        by_name: the parameters that the optimizer holds; the others are constants.
        clip_norm: the global norm that the gradient is clipped to; None: no clipping.
        unused: held by the optimizer, which has no state for them although it has for others; of files alone, where only the
            model can say whether they are frozen.

    Raises:
        StoreError: a value is outside its range.
    """

    by_name: Mapping[str, Options]
    clip_norm: float | None = None
    unused: Collection[str] = ()

    def __post_init__(self) -> None:
        if self.clip_norm is not None and not (is_number(self.clip_norm) and self.clip_norm > 0):
            refuse_option("clip_norm", self.optimizer, "a number above 0, or null", self.clip_norm)

    @property
    def optimizer(self) -> str:
        """Its name; both names where groups with Adam's and with AdamW's decay are mixed."""
        return " and ".join(dict.fromkeys(options.optimizer for options in self.by_name.values()))

    @property
    def step(self) -> int | None:
        """Updates made before it, by the parameter with most of them; None for SGD, which does not count."""
        counts = [options.step for options in self.by_name.values() if options.optimizer != "SGD"]
        return max(counts) if counts else None

    @property
    def lr(self) -> float | tuple[float, ...]:
        """The learning rate; all of them, in the order of the groups' first parameters, where groups differ."""
        rates = tuple(dict.fromkeys(options.lr for options in self.by_name.values()))
        return rates[0] if len(rates) == 1 else rates

    def of(self, name: str) -> Options | None:
        """The options of a parameter; None if the optimizer does not hold it."""
        return self.by_name.get(name)

    def decay(self, name: str) -> float:
        """The weight decay of a parameter."""
        options = self.of(name)
        return options.weight_decay if options else 0.0

    def check_names(self, names: Collection[str], source: object) -> None:
        """Raise StoreError if a name is not the model's."""
        for name in self.by_name:
            if name not in names:
                raise StoreError(
                    f"The optimizer's state in {source} is of a parameter that the model does not have",
                    got=name,
                )

    def check_moved(self, names: Collection[str], source: object) -> None:
        """Raise StoreError if a gradient reaches a parameter that no update of the run reached."""
        for name in names:
            if name in self.unused:
                raise StoreError(
                    f"{name} receives a gradient, but the optimizer's state in {source} has none of it",
                    expected="the state of every parameter that the batch's loss depends on",
                    got="a parameter that no update has moved, while others were moved",
                    remedy="if the run froze it, freeze it in the model as well: call its requires_grad_(False)",
                )


def is_number(value: object) -> bool:
    """A finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def are_betas(value: object) -> bool:
    """Two decay rates in [0, 1)."""
    return isinstance(value, tuple) and len(value) == 2 and all(is_number(b) and 0 <= b < 1 for b in value)


def refuse_option(name: str, optimizer: str, expected: str, got: object) -> None:
    """Raise the StoreError that names a hyperparameter outside its range."""
    raise StoreError(
        f"The hyperparameter {name} has no meaning for {optimizer}",
        expected=expected,
        got=repr(got),
        remedy=f"correct {name}",
    )
