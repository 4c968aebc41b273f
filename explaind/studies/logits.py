"""Figure 3a on logits: the same importances for the outputs before the log-softmax, at every few updates.

Log-probabilities of wrong answers keep falling while a model grows confident, and importances in their units keep growing with
them. The activation of the module that makes the logits does not saturate in this way, so claims about peaks and declines are
measured on it as well.
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

__all__ = ["COLUMNS", "write"]

STAGE = Stage(options=("study.logits",), requires="study.logits", memory=2000, runtime=60, gpu=True)

COLUMNS = ("step", "layer", "kernel", "regularization")


def write(config: Mapping[str, Any], trajectory: Path, *, output: Path) -> None:
    """Importances per layer, and of all layers together ("all"), of every `stride`-th update.

    Args:
        config: `study.logits.{module,stride,tests,tolerance,max_nodes}`.
        trajectory: the recorded run.
        output: CSV with `COLUMNS`, in units of the logits, summed over tests and outputs.
    """
    options = config["study"]["logits"]
    run, experiment = open_run(trajectory)
    stride = options["stride"]
    scores = influence(
        run,
        experiment.model,
        experiment.loss,
        test=experiment.test[0][: options["tests"]],
        keep=("step", "layer"),
        importance=("test", "output"),
        groups=experiment.groups,
        target=options["module"],
        steps=torch.arange(min(stride // 2, run.n_steps - 1), run.n_steps, stride).tolist(),
        tolerance=options["tolerance"],
        max_nodes=options["max_nodes"],
    )
    layers = scores[["kernel", "regularization"]].to_dataframe().reset_index()
    everything = scores[["kernel_all", "regularization_all"]].to_dataframe().reset_index().assign(layer="all")
    everything = everything.rename(columns={"kernel_all": "kernel", "regularization_all": "regularization"})
    table = pd.concat([layers, everything])[list(COLUMNS)].sort_values(["step", "layer"], kind="stable")
    write_csv(table, output)
