"""Figure 3a for each choice of what is explained: the same importances, at every few updates.

Log-probabilities of wrong answers keep falling while a model grows confident, and importances in their units keep growing with
them. Logits do not saturate in this way, so claims about peaks and declines are measured on them as well, and on the true
class's log-probability alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from explaind.attribution import influence
from explaind.config.declarations import Stage
from explaind.experiments.runs import open_run
from explaind.store.files import write_csv
from explaind.studies.choices import check_logits, target

__all__ = ["COLUMNS", "write"]

STAGE = Stage(
    options=("study.outputs",),
    without=("study.outputs.kernel_tests", "study.outputs.width", "study.outputs.tail_tolerance"),
    requires="study.outputs",
    memory=2000,
    runtime=60,
    gpu=True,
)

COLUMNS = ("choice", "step", "layer", "kernel", "regularization")


def write(config: Mapping[str, Any], *, trajectory: Path, output: Path) -> None:
    """Importances per layer, and of all layers together ("all"), of every `stride`-th update.

    Args:
        config: `study.outputs.{choices,module,stride,tests,tolerance,max_nodes}`.
        trajectory: the recorded run.
        output: CSV with `COLUMNS`, in units of each choice (log-probability or logit), summed over tests and its outputs.

    Raises:
        QueryError, ConfigError: the module does not exist, or its activation is not the logits.
    """
    options = config["study"]["outputs"]
    run, experiment = open_run(trajectory)
    check_logits(run, experiment, options["module"])
    stride = options["stride"]
    parts = []
    for choice in options["choices"]:
        scores = influence(
            run,
            experiment.model,
            experiment.loss,
            test=tuple(part[: options["tests"]] for part in experiment.test),
            keep=("step", "layer"),
            importance=("test", "output"),
            groups=experiment.groups,
            target=target(choice, options["module"]),
            steps=torch.arange(min(stride // 2, run.n_steps - 1), run.n_steps, stride).tolist(),
            tolerance=options["tolerance"],
            max_nodes=options["max_nodes"],
        )
        layers = scores[["kernel", "regularization"]].to_dataframe().reset_index()
        everything = (
            scores[["kernel_all", "regularization_all"]].to_dataframe().reset_index().assign(layer="all")
        )
        everything = everything.rename(
            columns={"kernel_all": "kernel", "regularization_all": "regularization"}
        )
        table = pd.concat([layers, everything]).sort_values("step", kind="stable")  # layers in their order
        parts.append(table.assign(choice=choice)[list(COLUMNS)])
    write_csv(pd.concat(parts), output)
