"""Test × train kernel and the similarity of predictions over one window of updates (figures 4, 5, 9 and 13)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from explaind.attribution.answer import answer
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import Problem, make_problem
from explaind.attribution.query import Query
from explaind.attribution.replay import certified
from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.features.groups import Partition
from explaind.ledger import UpdateTerms
from explaind.store import write_dataset
from explaind.store.files import read_json
from explaind.store.precision import in_single_precision

__all__ = ["cosines", "write"]

STAGE = Stage(
    options=("study.kernel",),
    requires=("study.kernel", "study.windows"),
    each="windows",
    memory=4000,
    runtime=120,
    gpu=True,
    priority=5,
)


def write(
    config: Mapping[str, Any],
    *,
    trajectory: Path,
    certificate: Path | None,
    phases: Path,
    window: str,
    output: Path,
) -> None:
    """Kernel (layer, test, train) and similarity (layer, test, test_other) over one window, as a store "window".

    Outputs and updates are summed. The similarity of x and x' is the cosine of Σ_s Φ_s(x) ⊙ Σ_k φ_{s,k}, one vector per layer.

    Args:
        config: `study.kernel.{train,tests,tolerance,max_nodes,tail_tolerance}`.
        trajectory: the recorded run.
        certificate: of the run, in which every update was rebuilt; None: those that the window rests on are rebuilt here.
        phases: JSON with the windows of this run.
        window: name of the window.
        output: the store to write.
    """
    run, experiment = open_run(trajectory)
    start, stop = read_json(phases)["windows"][window]
    options = config["study"]["kernel"]
    tests = tuple(part[: options["tests"]] for part in experiment.test)
    query = Query(
        keep=("layer", "train", "test"),
        steps=slice(start, stop),
        groups=experiment.groups,
        tolerance=options["tolerance"],
        max_nodes=options["max_nodes"],
        tail_tolerance=options["tail_tolerance"],
        samples=slice(options["train"]),
    )
    problem = make_problem(
        run, experiment.model, experiment.loss, query, train=experiment.training, test=tests
    )
    problem = certified(problem, certificate)
    scores = _Scores(problem)
    dataset = answer(problem, make_plan(problem, timed=False), observe=scores)
    dataset = dataset.drop_vars("quadrature")
    dataset = dataset.transpose("layer", "test", "train", ...)
    dataset["similarity"] = (("layer", "test", "test_other"), scores.cosines().cpu().numpy())
    dataset.attrs |= {"window": [start, stop], "name": window}
    write_dataset(in_single_precision(dataset), output, kind="window")


class _Scores:
    """Σ_s Φ_s ⊙ kernel term of u_s per row, [R, D]; blocks of rows follow each other, each over all steps backwards."""

    def __init__(self, problem: Problem) -> None:
        terms = UpdateTerms(problem.ledger)
        self._kernel = {s: terms.at(s)[0] for s in problem.steps}
        self._last = problem.steps[-1]
        self._partition = problem.partition
        self._blocks: list[Tensor] = []

    def __call__(self, s: int, phi: Tensor) -> None:
        """One step of one block of rows; each block begins at the last step."""
        if s == self._last:
            self._blocks.append(phi * self._kernel[s])
        else:
            self._blocks[-1].addcmul_(phi, self._kernel[s].expand_as(phi))

    def state(self) -> list[Tensor]:
        """What was added up so far, for `restore`."""
        return self._blocks

    def restore(self, state: list[Tensor]) -> None:
        """Go on from there."""
        self._blocks = state

    def cosines(self) -> Tensor:
        """Cosines between all rows per group, [G, R, R]."""
        return cosines(torch.cat(self._blocks), self._partition)


def cosines(scores: Tensor, partition: Partition) -> Tensor:
    """Cosines between all rows of scores [R, D] per group, [G, R, R]; a row of zeros has cosine 0 with everything."""
    matrices = []
    for group in range(len(partition)):
        unit = torch.nn.functional.normalize(scores[:, partition.index(group)], dim=1)
        matrices.append(unit @ unit.T)
    return torch.stack(matrices)
