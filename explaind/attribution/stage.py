"""The workflow's two attribution stages, on the recorded run of an experiment.

`influence_part` decomposes a range of updates over layers (figure 3a, table 1, completeness). `window_part` gives the test ×
train kernel and the similarity of predictions over one window (figures 4, 5, 9 and 13).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from explaind.attribution.contract import contract
from explaind.attribution.plan import make_plan
from explaind.attribution.problem import Problem, make_problem
from explaind.attribution.query import Query
from explaind.attribution.replay import certified
from explaind.attribution.walk import walk
from explaind.experiments import Experiment, load
from explaind.ledger import UpdateTerms
from explaind.recording.trajectory import Trajectory
from explaind.runtime.allocator import keep_memory
from explaind.store import write_dataset
from explaind.store.files import read_json


def open_run(trajectory: Path) -> tuple[Trajectory, Experiment]:
    """The recorded run and the experiment it belongs to, rebuilt from the run's own configuration and the data beside it."""
    run = Trajectory(trajectory)
    return run, load({**run.config, "files": {"data": Path(trajectory).with_name("data.zarr")}})


def influence_part(
    config: Mapping[str, Any], trajectory: Path, certificate: Path, start: int, stop: int, output: Path
) -> None:
    """Layer influences of the updates [start, stop) on test samples and all outputs, as a store "influence-part".

    Signed influences are summed over the part's updates; importances are kept per update. A part beyond the end of the
    run is written as an empty one.

    Args:
        config: `influence.{tolerance,max_nodes,tests,groups}`.
        trajectory: the recorded run.
        certificate: of the run, in which every update was rebuilt.
        start, stop: the range of updates; cut at the end of the run.
        output: the store to write.
    """
    keep_memory()
    begin = time.perf_counter()
    run, experiment = open_run(trajectory)
    stop = min(stop, run.n_steps)
    if start >= stop:
        empty = xr.Dataset(attrs={"start": start, "stop": start, "seconds": 0.0})
        write_dataset(empty, output, kind="influence-part")
        return
    options = config["influence"]
    query = Query(
        keep=("layer", "test", "output"),
        steps=slice(start, stop),
        groups=experiment.groups if options["groups"] == "layer" else {"all": ["*"]},
        tolerance=options["tolerance"],
        max_nodes=options["max_nodes"],
    )
    tests = tuple(part[: options["tests"]] for part in experiment.test)
    problem = certified(make_problem(run, experiment.model, experiment.loss, query, test=tests), certificate)
    importance = Query(**{**vars_of(query), "keep": ("step", "layer"), "importance": ("test", "output")})
    found = walk(problem, make_plan(problem, timed=False), {"signed": query, "importance": importance})
    dataset = found["signed"].drop_vars(["quadrature", "replay", "replay_bound"])
    for name in ("kernel", "regularization"):
        for level in ("", "_all"):
            dataset[f"importance_{name}{level}"] = found["importance"][f"{name}{level}"]
    dataset.attrs |= {"updates": run.n_steps, "seconds": time.perf_counter() - begin}
    write_dataset(_single(dataset), output, kind="influence-part")


def window_part(
    config: Mapping[str, Any],
    trajectory: Path,
    certificate: Path,
    phases: Path,
    window: str,
    output: Path,
) -> None:
    """Kernel (layer, test, train) and similarity (layer, test, test_other) over one window, as a store "window".

    Outputs and updates are summed. The similarity of x and x' is the cosine of Σ_s Φ_s(x) ⊙ Σ_k φ_{s,k}, one vector per layer.

    Args:
        config: `study.kernel.{train,tests,tolerance,max_nodes,tail_tolerance}`.
        trajectory: the recorded run.
        certificate: of the run, in which every update was rebuilt.
        phases: JSON with the windows of this run.
        window: name of the window.
        output: the store to write.
    """
    keep_memory()
    begin = time.perf_counter()
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
    )
    problem = make_problem(
        run, experiment.model, experiment.loss, query, train=experiment.training, test=tests
    )
    problem = certified(problem, certificate)
    scores = _Scores(problem)
    dataset = contract(problem, make_plan(problem, timed=False), observe=scores.add)
    dataset = dataset.isel(train=slice(0, options["train"])).drop_vars("quadrature")
    dataset = dataset.transpose("layer", "test", "train", ...)
    dataset["similarity"] = (("layer", "test", "test_other"), scores.cosines().cpu().numpy())
    dataset.attrs |= {"window": [start, stop], "name": window, "seconds": time.perf_counter() - begin}
    write_dataset(_single(dataset), output, kind="window")


class _Scores:
    """Σ_s Φ_s ⊙ kernel term of u_s per row, [R, D]; blocks of rows follow each other, each over all steps backwards."""

    def __init__(self, problem: Problem) -> None:
        terms = UpdateTerms(problem.ledger)
        self._kernel = {s: terms.at(s)[0] for s in problem.steps}
        self._last = problem.steps[-1]
        self._partition = problem.partition
        self._blocks: list[Tensor] = []

    def add(self, s: int, phi: Tensor) -> None:
        """One step of one block of rows; the walk begins each block at the last step."""
        if s == self._last:
            self._blocks.append(phi * self._kernel[s])
        else:
            self._blocks[-1].addcmul_(phi, self._kernel[s].expand_as(phi))

    def cosines(self) -> Tensor:
        """Cosines between all rows per group, [G, R, R]; a row of zeros has cosine 0 with everything."""
        scores, found = torch.cat(self._blocks), []
        for group in range(len(self._partition)):
            unit = torch.nn.functional.normalize(scores[:, self._partition.index(group)], dim=1)
            found.append(unit @ unit.T)
        return torch.stack(found)


def vars_of(query: Query) -> dict[str, Any]:
    """The fields of a query, to make another one from."""
    return {name: getattr(query, name) for name in query.__dataclass_fields__ if not name.startswith("_")}


def _single(dataset: xr.Dataset) -> xr.Dataset:
    """Large arrays as float32 on disk; what certifies them stays float64."""
    large = [
        name for name, values in dataset.data_vars.items() if values.ndim >= 3 and values.dtype == np.float64
    ]
    return dataset.assign({name: dataset[name].astype(np.float32) for name in large})
