"""Training samples that a run is continued without: their scores over a window, and the sets that are left out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from explaind.attribution import influence
from explaind.studies.counterfactual import Counterfactual

__all__ = ["RANDOM", "RANKED", "make_sets", "sample_scores"]

RANDOM, RANKED = "random samples", "ranked samples"


def sample_scores(
    counterfactual: Counterfactual, tests: tuple[Tensor, Tensor], options: Mapping[str, Any]
) -> Tensor:
    """What the gradients that entered in the window contributed to the mean loss by its end, one number per sample, float64 [N].

    Gradients from before the window still move the parameters in it. A run that leaves samples out from the window's start on
    keeps those, so each gradient is credited to the update that it entered at, and those before the window are not counted.

    Args:
        counterfactual: the window.
        tests: test samples and targets.
        options: `study.proportionality.{tolerance,max_nodes}`.
    """
    start, stop = counterfactual.start, counterfactual.stop
    experiment = counterfactual.experiment
    scores = influence(
        counterfactual.run,
        experiment.model,
        experiment.loss,
        train=experiment.training,
        test=tests,
        keep=("step", "train"),
        lineage="sample",
        steps=slice(start, stop),
        target="loss",
        tolerance=options["tolerance"] * len(tests[1]),
        max_nodes=options["max_nodes"],
        tail_tolerance=0.99,  # what is earlier is not counted
    )
    within = scores["kernel"].sel(step=slice(start, stop - 1)).transpose("train", "step").values
    return torch.from_numpy(within).double().sum(1) / len(tests[1])


def make_sets(
    score: Tensor, counterfactual: Counterfactual, options: Mapping[str, Any]
) -> dict[tuple[str, str], Tensor]:
    """(kind, name) → samples, out of those that the window's updates saw.

    Args:
        score: of every training sample on the loss, [N]: helpful samples lowered it.
        counterfactual: the window.
        options: `study.proportionality.{shares,sets,seed}`.
    """
    run, start, stop = counterfactual.run, counterfactual.start, counterfactual.stop
    batches = [batch.indices for s in range(start, stop) for batch in run.step(s).batches]
    seen = torch.cat(batches).unique()
    order = seen[score[seen].argsort(stable=True)]
    generator = torch.Generator().manual_seed(options["seed"] * 1_000_003 + start)
    sets = {}
    for share in options["shares"]:
        size = max(1, round(share * len(seen)))
        for number in range(options["sets"]):
            drawn = seen[torch.randperm(len(seen), generator=generator)[:size]]
            sets[RANDOM, f"{share:g}, set {number}"] = drawn
        sets[RANKED, f"{share:g}, most helpful"] = order[:size]
        sets[RANKED, f"{share:g}, most harmful"] = order[-size:]
        # Sets between the extremes: equal slices of the ranking.
        for number in range(options["sets"] - 2):
            first = round((number + 1) * (len(order) - size) / (options["sets"] - 1))
            sets[RANKED, f"{share:g}, from rank {first}"] = order[first : first + size]
    return sets
