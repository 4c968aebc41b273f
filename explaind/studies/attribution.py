"""The data-level view: what every training sample contributed to every output of the first test samples, over the whole run.

Σ_s Σ_p I[s, p, k, x, j], with everything that makes it add up: f_{θ_0} + Σ_k kernel + regularization + residual = f_{θ_T}.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from explaind.attribution import influence
from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.store import write_dataset

__all__ = ["write"]

STAGE = Stage(
    options=("study.attribution",),
    requires="study.attribution",
    memory=4000,
    runtime=240,
    gpu=True,
    priority=6,
)


def write(config: Mapping[str, Any], *, trajectory: Path, output: Path) -> None:
    """Write a store "attribution": kernel (train, test, output), regularization, initial, final, residual (test, output).

    Args:
        config: `study.attribution.{tests,tolerance,max_nodes,tail_tolerance}`.
        trajectory: the recorded run.
        output: the store to write.
    """
    options = config["study"]["attribution"]
    run, experiment = open_run(trajectory)
    scores = influence(
        run,
        experiment.model,
        experiment.loss,
        train=experiment.training,
        test=tuple(part[: options["tests"]] for part in experiment.test),
        keep=("train", "test", "output"),
        tolerance=options["tolerance"],
        max_nodes=options["max_nodes"],
        tail_tolerance=options["tail_tolerance"],
    )
    scores["kernel"] = scores["kernel"].astype(np.float32)
    write_dataset(scores, output, kind="attribution")
