"""An average of parameters beside training as the explained model, and the path from θ_0 to it (method.md section 2).

An average is linear in the run, θ̄ = Σ_t a_t θ_t with Σ_t a_t = 1, and so in its updates:

    θ̄ = θ_0 + Σ_s w_s u_s,    w_s = Σ_{t>s} a_t         ψ_0 = θ_0,  ψ_{s+1} = ψ_s + w_s u_s,  ψ_T = θ̄

Along ψ every update acts as in training, shortened by the share w_s of the average that saw it. Without an average w_s = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from explaind.errors import QueryError
from explaind.ledger.terms import Ledger
from explaind.recording.trajectory import Trajectory

__all__ = ["Average", "Path"]

TOLERANCE = 1e-3  # of the distance between the average and the last parameters
ROUNDING = 64.0  # units of rounding that keeping an average in its own precision may have added up to


@dataclass(frozen=True)
class Average:
    """Which average of the parameters is explained. Made by `exponential`, `equal` or `of`.

    Attributes:
        name: in words, for the answer's attributes.
        weights: T → a_0 … a_T, how much θ_t counts; their sum is 1.
        model: the averaged model as training left it; None if there is none to compare with.
    """

    name: str
    weights: Callable[[int], np.ndarray]
    model: nn.Module | None = None

    @classmethod
    def exponential(
        cls, decay: float, *, start: int = 0, every: int = 1, model: nn.Module | None = None
    ) -> Average:
        """A moving average, θ̄ ← decay θ̄ + (1 − decay) θ, as `get_ema_multi_avg_fn` makes of `AveragedModel`.

        Args:
            decay: between 0 and 1.
            start: the update after which it is taken for the first time, a copy.
            every: updates from one time to the next.
            model: the `AveragedModel` of the run, or its `module`, to compare with.

        Raises:
            QueryError: the arguments are not that.
        """
        if not isinstance(decay, Real) or not 0 <= decay < 1:
            raise QueryError(
                "The decay of an average is not usable.", expected="0 ≤ decay < 1", got=repr(decay)
            )

        def weights(total: int) -> np.ndarray:
            a, taken = np.zeros(total + 1), _taken(total, start, every)
            a[taken] = (1 - decay) * decay ** np.arange(len(taken) - 1, -1, -1.0)
            a[taken[0]] = decay ** (len(taken) - 1.0)
            return a

        return cls(f"exponential, decay {decay:g}", weights, model)

    @classmethod
    def equal(cls, *, start: int = 0, every: int = 1, model: nn.Module | None = None) -> Average:
        """The mean of all that were taken, as `AveragedModel` makes without further options (stochastic weight averaging).

        Args:
            start, every, model: as for `exponential`.
        """

        def weights(total: int) -> np.ndarray:
            a, taken = np.zeros(total + 1), _taken(total, start, every)
            a[taken] = 1.0 / len(taken)
            return a

        return cls("equal", weights, model)

    @classmethod
    def of(cls, weights: Sequence[float], *, model: nn.Module | None = None) -> Average:
        """Any other: the weights a_0 … a_T of θ_0 … θ_T, which are divided by their sum."""
        given = np.asarray(weights, dtype=np.float64)

        def checked(total: int) -> np.ndarray:
            if given.shape != (total + 1,) or not np.isfinite(given).all() or given.sum() == 0:
                raise QueryError(
                    "The weights of an average do not fit the run.",
                    expected=f"{total + 1} numbers, for the parameters before and after each of {total} updates",
                    got=f"shape {given.shape}",
                )
            return given / given.sum()

        return cls("given weights", checked, model)


def _taken(total: int, start: int, every: int) -> np.ndarray:
    """Numbers t of the parameters that are taken: those after update `start`, and every so many later."""
    if not all(isinstance(one, Integral) for one in (start, every)) or every < 1 or not 0 <= start < total:
        raise QueryError(
            "An average of the parameters is not usable.",
            expected=f"start within the {total} updates of the run, and every ≥ 1",
            got=f"start {start}, every {every}",
        )
    return np.arange(start + 1, total + 1, every)


class Path:
    """The points ψ_s between which the explained model moves, and by what; training's own θ_s without an average.

    Args:
        ledger: gives θ_s and u_s.
        average: None: the model that was trained is explained.

    Attributes:
        difference: ‖model − θ̄‖ over ‖θ_T − θ̄‖, for an average with a model to compare with; else None.

    Raises:
        QueryError: the average does not fit the run, or is not that of its model.
    """

    def __init__(self, ledger: Ledger, average: Average | None = None) -> None:
        self._ledger, self.average = ledger, average
        self.difference: float | None = None
        if average is None:
            return
        weights = average.weights(ledger.trajectory.n_steps)
        self._shares = np.cumsum(weights[::-1])[::-1][1:]  # w_s = Σ_{t>s} a_t
        self._at, self._point = 0, ledger.parameters(0).double()
        if average.model is not None:
            self.difference = self._compared(average.model)

    def weight(self, s: int) -> float:
        """w_s, how much of update s the explained model has."""
        return 1.0 if self.average is None else float(self._shares[s])

    def parameters(self, s: int) -> Tensor:
        """ψ_s, [D]."""
        if self.average is None:
            return self._ledger.parameters(s)
        while self._at < s:
            self._point = self._point + self._move(self._at)
            self._at += 1
        while self._at > s:
            self._at -= 1
            self._point = self._point - self._move(self._at)
        return self._point.to(self._ledger.dtype)

    def update(self, s: int) -> Tensor:
        """ψ_{s+1} − ψ_s, [D]."""
        if self.average is None:
            return self._ledger.update(s)
        return self._move(s).to(self._ledger.dtype)

    def _move(self, s: int) -> Tensor:
        after, before = (self._ledger.parameters(t).double() for t in (s + 1, s))
        return self.weight(s) * (after - before)

    def _compared(self, model: nn.Module) -> float:
        trajectory: Trajectory = self._ledger.trajectory
        given = dict(model.named_parameters())
        prefix = "module." if set(given) == {f"module.{name}" for name in _names(trajectory, given)} else ""
        names = trajectory.layout.names
        if missing := [name for name in names if prefix + name not in given]:
            raise QueryError(
                "The averaged model is not one of the recorded model.",
                expected=f"a parameter {missing[0]!r}",
                got=", ".join(list(given)[:4]) + (" …" if len(given) > 4 else ""),
                remedy="Pass the AveragedModel of the model that was recorded, or its module.",
            )
        flat = torch.cat([given[prefix + name].detach().cpu().double().reshape(-1) for name in names])
        mean = self.parameters(trajectory.n_steps).cpu().double()
        last = self._ledger.parameters(trajectory.n_steps).cpu().double()
        off, distance = float((flat - mean).norm()), float((last - mean).norm())
        eps = torch.finfo(trajectory.layout.dtype).eps
        if not off <= TOLERANCE * distance + ROUNDING * eps * float(mean.norm()):
            raise QueryError(
                "The average of the recorded parameters is not the averaged model.",
                expected=f"parameters within {TOLERANCE:g} of the average's distance from the last ones, {distance:.3g}",
                got=f"a difference of {off:.3g}",
                remedy="State the decay, and when update_parameters was called first and how often, as the run had them.",
            )
        return off / distance if distance else 0.0


def _names(trajectory: Trajectory, given: dict[str, Any]) -> list[str]:
    """All parameter names of the recorded model, as far as they are known: θ and the constants among `given`."""
    bare = {name.removeprefix("module.") for name in given}
    return [name for name in (*trajectory.layout.names, *trajectory.constants) if name in bare]
