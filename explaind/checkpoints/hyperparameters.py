"""The hyperparameters of the update that follows a checkpoint, under the names of torch.optim.AdamW.

Notation: the checkpoint holds θ and the moments m, v after `step` updates; the update that follows is number t = step + 1, and

    θ ← θ − lr · (m′ / (1−β1^t)) / (√(v′ / (1−β2^t)) + eps) − lr · decay(name) · θ
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from explaind.checkpoints.options import Options, are_betas, is_number, refuse_option
from explaind.errors import StoreError

__all__ = ["Hyperparameters", "hyperparameters_from"]


@dataclass(frozen=True)
class Hyperparameters:
    """Of one AdamW update.

    Attributes:
        step: updates made before it.
        lr: learning rate.
        betas: decay rates of the first and second moment.
        eps: added to the root of the second moment.
        weight_decay: of the decayed parameters.
        undecayed: names of the parameters without weight decay.
        clip_norm: the global norm that the gradient is clipped to; None: no clipping.

    Raises:
        StoreError: a value is outside its range.
    """

    step: int
    lr: float
    betas: tuple[float, float]
    eps: float
    weight_decay: float
    undecayed: tuple[str, ...]
    clip_norm: float | None

    def __post_init__(self) -> None:
        for name, valid, wanted in (
            ("step", _is_count(self.step), "a whole number of updates, 0 or more"),
            ("lr", is_number(self.lr) and self.lr >= 0, "a finite number, 0 or more"),
            ("betas", are_betas(self.betas), "two numbers, each at least 0 and below 1"),
            ("eps", is_number(self.eps) and self.eps >= 0, "a finite number, 0 or more"),
            (
                "weight_decay",
                is_number(self.weight_decay) and self.weight_decay >= 0,
                "a finite number, 0 or more",
            ),
            ("undecayed", _are_names(self.undecayed), "a list of parameter names"),
            (
                "clip_norm",
                self.clip_norm is None or (is_number(self.clip_norm) and self.clip_norm > 0),
                "a number above 0, or null",
            ),
        ):
            if not valid:
                refuse_option(name, "AdamW", wanted, getattr(self, name))

    def decay(self, name: str) -> float:
        """The weight decay of a parameter."""
        return 0.0 if name in self.undecayed else self.weight_decay

    @property
    def optimizer(self) -> str:
        """Whose update it is."""
        return "AdamW"

    def of(self, name: str) -> Options:
        """The options of a parameter."""
        return Options("AdamW", self.step, self.lr, self.decay(name), self.betas, self.eps)

    def check_moved(self, names: Collection[str], source: object) -> None:
        """As of `GroupedHyperparameters`: here every parameter has state."""

    def as_json(self) -> dict[str, Any]:
        """As `hyperparameters_from` reads it."""
        return asdict(self)

    def check_names(self, names: Sequence[str], source: Path) -> None:
        """Raise StoreError if `undecayed` names a parameter that the model lacks."""
        known = set(names)
        for name in self.undecayed:
            if name not in known:
                raise StoreError(
                    f"The hyperparameters of {source} name an undecayed parameter that the model does not have",
                    expected="names of the model's parameters, such as model.norm.weight",
                    got=name,
                    remedy="correct undecayed",
                )


def hyperparameters_from(content: Any, source: Path) -> Hyperparameters:
    """Hyperparameters out of JSON.

    Args:
        content: a dictionary with exactly the fields of `Hyperparameters`.
        source: the file it was read from, for messages.

    Raises:
        StoreError: a field is missing, unknown, or outside its range.
    """
    known = [field.name for field in fields(Hyperparameters)]
    if not isinstance(content, Mapping):
        raise StoreError(
            f"{source} holds no hyperparameters",
            expected=f"a dictionary with {', '.join(known)}",
            got=type(content).__name__,
        )
    for name in known:
        if name not in content:
            raise StoreError(
                f"The hyperparameter {name} is missing in {source}",
                expected=", ".join(known),
                got=", ".join(content) or "none",
                remedy=f"add {name}, of the update that follows the checkpoint",
            )
    for name in content:
        if name not in known:
            raise StoreError(
                f"{source} names an unknown hyperparameter",
                expected=", ".join(known),
                got=str(name),
                remedy="remove it, or correct its name",
            )
    try:
        return Hyperparameters(**{name: _frozen(content[name]) for name in known})
    except StoreError as error:
        raise StoreError(
            f"{error.problem} in {source}", expected=error.expected, got=error.got, remedy=error.remedy
        ) from error


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _are_names(value: Any) -> bool:
    return isinstance(value, tuple) and all(isinstance(name, str) for name in value)
