"""How many of the steps does a decomposition need? Predictions rebuilt from some of the updates alone (the paper's appendix G.2).

With Δ_s(x) = Σ_p (Σ_k I + R) of update s, the sparse prediction is f_{θ_0}(x) + Σ_{s∈S} Δ_s(x). The steps S are chosen by

held-out loss        largest |change of the loss of held-out samples|: the paper's heuristic
contribution         largest Σ_x Σ_j |Δ_s(x)_j|: a ranking by the size of what is kept, which needs the decomposition
random               in random order, several times

Shapes: T test samples, O outputs, S steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from explaind.attribution import influence
from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.recording.trajectory import Trajectory
from explaind.store.files import write_csv
from explaind.studies.agreement import fidelity

__all__ = ["COLUMNS", "RANKINGS", "heldout_changes", "write"]

STAGE = Stage(
    options=("study.sparse", "influence"),
    without=("influence.block",),
    requires="study.sparse",
    memory=4000,
    runtime=60,
    gpu=True,
)

RANKINGS = ("held-out loss", "contribution", "random")
COLUMNS = ("ranking", "order", "share", "steps", "agreement", "kl", "max_error")


def write(config: Mapping[str, Any], *, trajectory: Path, output: Path) -> None:
    """Write one row per ranking, share of kept steps and, for random steps, order.

    Args:
        config: `study.sparse.{shares,orders,seed}` and `influence.{tests,tolerance,max_nodes}`.
        trajectory: the recorded run; its experiment has held-out samples.
        output: CSV with `COLUMNS`.
    """
    options, query = config["study"]["sparse"], config["influence"]
    run, experiment = open_run(trajectory)
    scores = influence(
        run,
        experiment.model,
        test=tuple(part[: query["tests"]] for part in experiment.test),
        keep=("step", "test", "output"),
        tolerance=query["tolerance"],
        max_nodes=query["max_nodes"],
    )
    parts = [scores[name].values for name in ("kernel", "regularization")]
    per_step = parts[0] + parts[1]  # [S, T, O]
    initial, final = (scores[name].values.astype(np.float64) for name in ("initial", "final"))
    generator = np.random.default_rng(options["seed"])
    orders = {
        "held-out loss": [np.argsort(-np.abs(heldout_changes(run, experiment)), kind="stable")],
        "contribution": [np.argsort(-np.abs(per_step).sum((1, 2), dtype=np.float64), kind="stable")],
        "random": [generator.permutation(run.n_steps) for _ in range(options["orders"])],
    }
    rows = []
    for ranking, permutations in orders.items():
        for number, order in enumerate(permutations):
            rebuilt, done = initial.copy(), 0
            for share in sorted(options["shares"]):
                count = max(1, round(share * run.n_steps))
                rebuilt += per_step[order[done:count]].sum(0, dtype=np.float64)
                done = count
                measures = fidelity(rebuilt, final)
                rows.append({"ranking": ranking, "order": number, "share": share, "steps": count, **measures})
    write_csv(pd.DataFrame(rows, columns=COLUMNS), output)


def heldout_changes(run: Trajectory, experiment: Any) -> np.ndarray:
    """Change of the held-out samples' mean loss at every update, [S], in nats."""
    inputs, targets = experiment.heldout
    losses = []
    with torch.no_grad():
        for s in range(run.n_steps + 1):
            theta = run.layout.unflatten(run.parameters(s))
            outputs = torch.func.functional_call(experiment.model, {**run.constants, **theta}, (inputs,))
            losses.append(experiment.loss(outputs, targets).item())
    return np.diff(losses)
