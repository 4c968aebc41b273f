"""How far updates that were made again are from the recorded ones: measured, and refused above a tolerance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from explaind.errors import LedgerError
from explaind.recording.trajectory import Trajectory

__all__ = ["TOLERANCE", "Remade", "check_gradient", "compare"]

TOLERANCE = {torch.float32: 1e-3, torch.float64: 1e-8}
"""Accepted difference at a kept state: of θ, in lengths of an update (root mean square since the kept state before), as it is of
an update that is rebuilt; of momentum and second moment, in their own length. Ten times as much for the length of a gradient."""
REMEDY = (
    "Pass the same loss function (with its reduction, label smoothing and class weights), model and training samples that the "
    "run used, and give Recorder.batch its weights where the loop scales the loss."
)


@dataclass(frozen=True)
class Remade:
    """What the comparison at the end of a segment gave.

    Attributes:
        start, stop: the updates start … stop − 1 were made again.
        other: the first of them that left other bits than the run; None if all are the same.
        difference: the largest relative difference at the kept state, 0.0 for the same numbers.
    """

    start: int
    stop: int
    other: int | None
    difference: float


def compare(
    run: Trajectory,
    start: int,
    other: int | None,
    thetas: Tensor,
    states: Sequence[Mapping[str, Any]],
) -> Remade:
    """Compare the end of a segment with the kept state.

    Args:
        run: the recording.
        start: the first update of the segment.
        other: the first with other bits.
        thetas: θ_{start+1} … θ_stop as made again, [n, D] on the CPU.
        states: the optimizer's state for each tensor, as made again.

    Raises:
        LedgerError: they differ by more than the tolerance, or bits differ where no state was kept to measure by how much.
    """
    stop = start + len(thetas)
    limit = TOLERANCE[run.layout.dtype]
    if stop not in run.kept.steps:
        if other is None:
            return Remade(start, stop, None, 0.0)
        raise LedgerError(
            f"The updates {start} to {stop - 1}, made again, leave other parameters than the run did, and the recording ended "
            "before it kept a state that says by how much.",
            expected=f"the same bits after update {other}",
            got="other bits: another kind of processor, loss, model or data",
            remedy="Explain on the machine that trained, or only updates before the last kept state.",
        )
    kept, state = run.kept.read(stop)
    assert kept is not None
    difference = _relative(thetas[-1] - kept, _typical_update(run.parameters(start), thetas))
    where = "parameters, in lengths of an update"
    for ours, theirs in zip(states, state["states"], strict=True) if state else ():
        for name, value in theirs.items():
            off = _off(ours.get(name), value)
            if off > difference:
                difference, where = off, f"state {name!r}, in its own length"
    if not difference <= limit:
        first = "" if other is None else f"; update {other} is the first to leave other bits"
        raise LedgerError(
            f"The updates {start} to {stop - 1}, made again from the recorded batches, do not lead to the kept state.",
            expected=f"a relative difference of at most {limit:g}",
            got=f"{difference:.3g} in the {where}{first}",
            remedy=REMEDY,
        )
    return Remade(start, stop, other, difference)


def check_gradient(run: Trajectory, s: int, norms: Sequence[float]) -> None:
    """Compare the lengths of an update's gradients with the recorded ones, where its bits are not the run's.

    Adam hardly notices a loss that is multiplied with a number: θ alone does not tell.

    Raises:
        LedgerError: a length differs.
    """
    record = run.step(s)
    limit = 10 * TOLERANCE[run.layout.dtype]
    total = math.sqrt(sum(norm * norm for norm in record.gradient_norms))
    for name, norm, seen in zip(run.layout.names, norms, record.gradient_norms, strict=True):
        if abs(norm - seen) > limit * total:
            raise LedgerError(
                f"The gradient of update {s}, made again from the recorded batch, is not the one that the optimizer got.",
                expected=f"a length of {seen:.6g} in {name}, up to {limit:g} of the whole gradient's",
                got=f"{norm:.6g}",
                remedy=REMEDY,
            )


def _typical_update(start: Tensor, thetas: Tensor) -> float:
    """Length of an update, root mean square over a segment."""
    before = [start, *thetas[:-1]]
    lengths = [_length(after - theta) for theta, after in zip(before, thetas, strict=True)]
    return math.sqrt(sum(length * length for length in lengths) / len(lengths))


def _off(ours: Any, theirs: Any) -> float:
    if not isinstance(theirs, Tensor):
        return 0.0 if ours == theirs else math.inf
    if not isinstance(ours, Tensor) or ours.shape != theirs.shape:
        return math.inf
    return _relative(ours.cpu() - theirs, _length(theirs))


def _relative(difference: Tensor, scale: float) -> float:
    off = _length(difference)
    return 0.0 if off == 0.0 else off / max(scale, 5e-324)


def _length(vector: Tensor) -> float:
    return float(torch.linalg.vector_norm(vector.double()))
