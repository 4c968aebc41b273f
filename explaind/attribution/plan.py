"""The plan: which algorithm answers a query, in which parts, and at what cost, before any work.

    forward     train summed, few groups       per node (1 + groups × terms) forward passes, any number of outputs
    reverse     train summed, many groups      per node one backward pass per row; single parameters
    adjoint     train kept, or credit by sample    rows × D state, one product per batch, backwards over the window
    directional    the same for few rows          as adjoint, with no gradient of a sample: a tangent per row and group
    buffered    train and step kept, credit by update    momentum of a block of samples, forwards over the window

Costs count evaluations of the model ("passes" over the test samples or the batches) and are turned into seconds by timing
two small evaluations. They are estimates of the order of magnitude, not promises.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import torch

from explaind.attribution.directional import cheaper, forward_passes
from explaind.attribution.problem import Problem
from explaind.attribution.replay import rests_on
from explaind.errors import QueryError
from explaind.recording.trajectory import Trajectory

ROW_BYTES = 600_000_000  # of Φ, its refinement and Ψ of one block of rows
FORWARD_BYTES = 256_000_000  # of one block's influences and their temporaries
LARGEST_FORWARD_BLOCK = 2048
TIMED = 64  # samples whose evaluation is timed
NODES_GUESS = 1.7  # mean nodes measured on the modulo Transformer at tolerance 0.01


@dataclass(frozen=True)
class Plan:
    """How a query will be answered.

    Attributes:
        algorithm: "forward", "reverse", "adjoint", "directional" or "buffered".
        steps: number of explained updates.
        tests: number of explained samples.
        block: test samples held at once.
        blocks: passes over the window, one per block of test samples.
        passes: forward passes over all test samples that the work amounts to (a backward pass counts as two).
        gemm_flop: floating-point operations of the contraction's products (0 without a train axis).
        result_bytes: size of the result, in memory and, before compression, on disk.
        reading_bytes: memory of the updates that are read, or made again, at once.
        peak_bytes: estimated peak memory above the samples and the model, result and updates included.
        seconds: estimated time on this machine with the present number of threads.
    """

    algorithm: str
    steps: int
    tests: int
    block: int
    blocks: int
    passes: float
    gemm_flop: float
    result_bytes: int
    reading_bytes: int
    peak_bytes: int
    seconds: float

    def as_dict(self) -> dict[str, str | int | float]:
        """The plan as plain values, for tables and attributes."""
        return asdict(self)


def make_plan(problem: Problem, *, timed: bool = True) -> Plan:
    """Choose the cheapest exact algorithm for the kept axes.

    Args:
        problem: the checked query.
        timed: measure two small evaluations for the estimate of seconds (else seconds is NaN).

    Raises:
        QueryError: the result alone would not fit into the machine's memory.
    """
    query, outputs, tests = problem.query, problem.outputs, len(problem.test)
    size, itemsize, groups = problem.model.layout.size, problem.dtype.itemsize, len(problem.partition)
    terms, steps, columns = 2, len(problem.steps), outputs if query.resolves("output") else 1
    rows = (tests if query.resolves("test") else 1) * columns
    forward = 1 + 1.5 * groups * terms
    reverse = 3.0 * columns
    if query.contracts:
        by_update = query.keeps("step") and query.keeps("train") and query.lineage == "update"
        algorithm = "buffered" if by_update else "adjoint"
    else:
        algorithm = "reverse" if problem.partition.single or reverse < forward else "forward"
    row_bytes = 3 * size * itemsize * columns
    if query.contracts:  # a block's kernel, before absolute values and sums over its tests
        samples = problem.kept_samples if query.keeps("train") else 1
        row_bytes += (steps if query.keeps("step") else 1) * groups * samples * itemsize * columns
    if algorithm == "forward":
        per_test = 4 * groups * terms * outputs * itemsize
        block, per_node = max(1, min(tests, LARGEST_FORWARD_BLOCK, FORWARD_BYTES // per_test)), forward
        peak = per_test * block
    else:
        per_node = reverse
        block = max(1, min(tests, ROW_BYTES // row_bytes)) if query.resolves("test") else tests
        peak = row_bytes * (block if query.resolves("test") else 1)
        if problem.partition.single:  # signed sums per parameter in float64, and one product of each step
            per_test = terms * size * (8 + 2 * itemsize) * columns
            block = max(1, min(block, ROW_BYTES // per_test)) if query.resolves("test") else tests
            peak = max(peak, per_test * (block if query.resolves("test") else 1))
    count = -(-tests // block)
    block = -(-tests // count)
    batch = _batch_size(problem.trajectory, problem.steps)
    share = problem.kept_samples / problem.gradients.items if query.keeps("train") else 0.0
    flop, per_sample = 2.0 * rows * batch * share * size * steps, 3.0
    held = (block if query.resolves("test") else 1) * columns
    if algorithm == "adjoint" and query.keeps("train") and cheaper(problem, held):
        algorithm, flop, per_sample = "directional", 0.0, forward_passes(problem, held)
    passes = steps * (NODES_GUESS * per_node + 1)
    result = _result_bytes(problem)
    _fits(result + peak)
    reading = problem.trajectory.held_bytes(*rests_on(problem))
    peak += result + reading
    trained = per_sample * steps * batch * count if query.contracts else 0.0
    seconds = _seconds(problem, passes, flop, trained) if timed else float("nan")
    return Plan(algorithm, steps, tests, block, count, passes, flop, result, reading, int(peak), seconds)


def _batch_size(trajectory: Trajectory, steps: tuple[int, ...]) -> int:
    if not steps:
        return 0
    return sum(len(batch.indices) for batch in trajectory.step(steps[0]).batches)


def _result_bytes(problem: Problem) -> int:
    query = problem.query
    entries = 2 * (len(problem.steps) if query.keeps("step") else 1)
    entries *= len(problem.partition)
    for axis, size in (("test", len(problem.test)), ("output", problem.outputs)):
        entries *= size if query.keeps(axis) else 1
    if query.keeps("train"):
        entries *= problem.kept_samples
    return entries * 8


def _fits(needed: float) -> None:
    import psutil

    available = psutil.virtual_memory().available
    if needed > available:
        raise QueryError(
            "The answer does not fit into memory.",
            expected=f"at most {available / 1e9:.1f} GB, which are free on this machine",
            got=f"about {needed / 1e9:.1f} GB",
            remedy="Keep fewer axes, explain fewer test samples or steps at a time, or group the parameters.",
        )


def _seconds(problem: Problem, passes: float, flop: float, sample_passes: float) -> float:
    few = torch.arange(TIMED) % len(
        problem.test
    )  # many at once, as batches are, even where one sample is explained
    x, y = (None if part is None else part[few] for part in problem.test.take(slice(None)))
    problem.values(0, x, y)
    begin = time.perf_counter()
    problem.values(0, x, y)
    each = (time.perf_counter() - begin) / TIMED
    a = torch.rand(512, 512, dtype=problem.dtype)
    a @ a
    begin = time.perf_counter()
    a @ a
    per_flop = (time.perf_counter() - begin) / (2 * 512**3)
    return (passes * len(problem.test) + sample_passes) * each + flop * per_flop
