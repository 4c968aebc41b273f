"""Does a parameter's importance say whether the model can do without it? (figure 2 of the paper)

Every method ranks all parameters but the output layer's, weights and biases alike, in one list; the first are kept and the rest
set to zero. A fraction is a share of these parameters; the output layer is always whole. Scores are computed on one part of the
test set and pruned models are evaluated on the other, for several random splits into the two parts.

Filter pruning (`explaind.studies.filters`) takes whole filters, and retrains unless it is told not to; no other method does.
What each method's score is: `explaind.studies.saliency`.

Importances are of what training changed. Setting a parameter to zero also takes away what it began with; so some methods are
evaluated a second time with the initial values, in place of zero, for what is not kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn

from explaind.config.declarations import Stage
from explaind.experiments.experiment import Experiment
from explaind.experiments.runs import open_run
from explaind.recording.trajectory import Trajectory
from explaind.runtime.device import find_device
from explaind.runtime.durable import each
from explaind.runtime.progress import track
from explaind.store.files import write_csv
from explaind.studies.agreement import fidelity
from explaind.studies.filters import prune_filters
from explaind.studies.masking import keep_largest, prunable
from explaind.studies.saliency import Saliency
from explaind.training.reproducible import reproducible

__all__ = ["COLUMNS", "split_tests", "write"]

STAGE = Stage(
    options=("study.pruning",),
    without=("study.pruning.splits",),
    requires="study.pruning",
    each="splits",
    memory=4000,
    runtime=240,
    gpu=True,
)

BLOCK = 256  # evaluated samples in one forward pass: caches hold their activations
COLUMNS = ("method", "rest", "fraction", "split", "kept", "accuracy", "agreement", "kl", "original")


def write(config: Mapping[str, Any], *, trajectory: Path, split: int, output: Path) -> None:
    """Write one row per method, intervention and fraction, for one split of the test set.

    Args:
        config: `study.pruning`.
        trajectory: the recorded run.
        split: number of the split, from 0.
        output: CSV with `COLUMNS`: `rest` says what parameters that are not kept are set to, `kept` is the share of prunable
            parameters that are kept, `agreement` the share of samples with the original model's prediction, `kl` the mean
            divergence from its distribution in nats, `original` its accuracy on the same samples.

    Raises:
        ConfigError: the model has no such output layer, or nothing else.
        TrainingError: a loss became NaN or infinite in retraining.
    """
    options = config["study"]["pruning"]
    run, experiment = open_run(trajectory)
    names = prunable(experiment, run.layout.names, options["output_layer"])
    with reproducible(run.config["train"]["threads"]):
        experiment = experiment.to(find_device())
        initial, final = (
            run.layout.unflatten(run.parameters(s).to(find_device(), copy=True)) for s in (0, run.n_steps)
        )
        experiment.model.load_state_dict({**run.constants, **final})
        scored, evaluated = split_tests(len(experiment.test[1]), options["part"], options["seed"], split)
        tests, labels = (part[evaluated] for part in experiment.test)
        original = experiment.outputs(tests).cpu()
        random = _Random(options["seed"] * 1_000_003 + split)
        saliency = Saliency(run, experiment, scored[: options["tests"]], options, random.generator)

        def rows(method: str) -> list[dict[str, Any]]:
            return [
                {"method": method, "split": split, **row}
                for row in _measured(
                    _pruned(method, saliency, run, experiment, names, initial, options, random.seed),
                    tests,
                    labels,
                    original,
                )
            ]

        methods = each("methods", options["methods"], rows, random)
        methods = track(methods, total=len(options["methods"]), description="pruning", unit="method")
        table = pd.DataFrame([row for of_method in methods for row in of_method], columns=COLUMNS)
    write_csv(table, output)


class _Random:
    """The generator that the methods share, one after the other."""

    def __init__(self, seed: int) -> None:
        self.seed, self.generator = seed, torch.Generator().manual_seed(seed)

    def state(self) -> Tensor:
        """Where it stands, for `restore`."""
        return self.generator.get_state()

    def restore(self, state: Tensor) -> None:
        """Go on from there."""
        self.generator.set_state(state)


def split_tests(count: int, part: float, seed: int, split: int) -> tuple[Tensor, Tensor]:
    """A random split of `count` test samples: positions [⌊part · count⌉] for scores, and all others; both in random order."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + split)
    order = torch.randperm(count, generator=generator)
    size = round(part * count)
    return order[:size], order[size:]


def _measured(
    models: Iterator[tuple[str, float, nn.Module, float]], tests: Tensor, labels: Tensor, original: Tensor
) -> Iterator[dict[str, Any]]:
    """What becomes of the predictions: the columns of each pruned model, but for method and split."""
    for rest, fraction, model, kept in models:
        with torch.no_grad():
            outputs = torch.cat([model(part) for part in tests.split(BLOCK)]).cpu()
        measures = fidelity(outputs.numpy(), original.numpy())
        yield {
            "rest": rest,
            "fraction": fraction,
            "kept": kept,
            "accuracy": _accuracy(outputs, labels),
            "agreement": measures["agreement"],
            "kl": measures["kl"],
            "original": _accuracy(original, labels),
        }


def _pruned(
    method: str,
    saliency: Saliency,
    run: Trajectory,
    experiment: Experiment,
    names: Sequence[str],
    initial: Mapping[str, Tensor],
    options: Mapping[str, Any],
    seed: int,
) -> Iterator[tuple[str, float, nn.Module, float]]:
    """("zero" or "initial", fraction, model, kept share) of one method."""
    fractions = sorted(options["fractions"], reverse=True)
    if method.startswith("filters"):
        how = {"updates": options["retraining"] if method == "filters" else 0, "seed": seed * len(fractions)}
        for fraction, model, kept in prune_filters(experiment, names, fractions, run.config, **how):
            yield "zero", fraction, model, kept
        return
    scores = saliency(method)
    for fraction in fractions:
        yield "zero", fraction, *keep_largest(experiment.model, names, scores, fraction)
    for fraction in fractions if method in options["reset"] else ():
        yield "initial", fraction, *keep_largest(experiment.model, names, scores, fraction, rest=initial)


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(-1) == labels.cpu()).double().mean())
