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
from copy import deepcopy
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.nn.utils import prune

from explaind.config.declarations import Stage
from explaind.errors import ConfigError
from explaind.experiments.experiment import Experiment
from explaind.experiments.runs import open_run
from explaind.recording.trajectory import Trajectory
from explaind.runtime.device import find_device
from explaind.runtime.progress import track
from explaind.store.files import write_csv
from explaind.studies.agreement import fidelity
from explaind.studies.filters import prune_filters
from explaind.studies.saliency import Saliency
from explaind.training.reproducible import reproducible

__all__ = ["COLUMNS", "keep_largest", "prunable", "split_tests", "write"]

STAGE = Stage(
    options=("study.pruning",),
    without=("study.pruning.splits",),
    requires="study.pruning",
    each="splits",
    memory=4000,
    runtime=240,
    gpu=True,
)

COLUMNS = ("method", "rest", "fraction", "split", "kept", "accuracy", "agreement", "kl", "original")


def write(config: Mapping[str, Any], *, trajectory: Path, split: int, output: Path) -> None:
    """Write one row per method, intervention and fraction, for one split of the test set.

    Args:
        config: `study.pruning`.
        trajectory: the recorded run.
        split: number of the split, from 0.
        output: CSV with `COLUMNS`: `rest` says what parameters that are not kept are set to, `kept` is the share of prunable parameters that are kept, `agreement` the share of
            samples with the original model's prediction, `kl` the mean divergence from its distribution in nats, `original`
            its accuracy on the same samples.

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
        rows = []
        models = _pruned(run, experiment, names, initial, scored[: options["tests"]], options, split)
        count = len(options["methods"] + options["reset"]) * len(options["fractions"])
        for method, rest, fraction, model, kept in track(
            models, total=count, description="pruning", unit="model"
        ):
            with torch.no_grad():
                outputs = torch.cat([model(part) for part in tests.split(BLOCK)]).cpu()
            measures = fidelity(outputs.numpy(), original.numpy())
            row = {
                "method": method,
                "rest": rest,
                "fraction": fraction,
                "split": split,
                "kept": kept,
                "accuracy": _accuracy(outputs, labels),
                "agreement": measures["agreement"],
                "kl": measures["kl"],
                "original": _accuracy(original, labels),
            }
            rows.append(row)
    write_csv(pd.DataFrame(rows, columns=COLUMNS), output)


BLOCK = 256  # samples in one forward pass


def prunable(experiment: Experiment, names: Sequence[str], output_layer: str) -> tuple[str, ...]:
    """The trained parameters outside the output layer, in the model's order.

    Args:
        experiment: its `groups` are the layers.
        names: of the parameters that the optimizer moved; others are never pruned.
        output_layer: name of a layer.

    Raises:
        ConfigError: there is no such layer, or no parameter is left.
    """
    if output_layer not in experiment.groups:
        raise ConfigError(
            f"The model has no layer {output_layer!r} that could be left whole.",
            expected=f"one of {', '.join(experiment.groups)}",
            got=output_layer,
            remedy="Name the model's last layer in study.pruning.output_layer.",
        )
    chosen = tuple(name for name in names if name not in experiment.groups[output_layer])
    if not chosen:
        raise ConfigError(
            "There is nothing to prune.",
            expected="trained parameters outside the output layer",
            got=f"{output_layer} alone",
            remedy="Correct study.pruning.output_layer, or choose an experiment with more layers.",
        )
    return chosen


def split_tests(count: int, part: float, seed: int, split: int) -> tuple[Tensor, Tensor]:
    """A random split of `count` test samples: positions [⌊part · count⌉] for scores, and all others; both in random order."""
    generator = torch.Generator().manual_seed(seed * 1_000_003 + split)
    order = torch.randperm(count, generator=generator)
    size = round(part * count)
    return order[:size], order[size:]


def keep_largest(
    model: nn.Module,
    names: Sequence[str],
    scores: Mapping[str, Tensor],
    fraction: float,
    rest: Mapping[str, Tensor] | None = None,
) -> tuple[nn.Module, float]:
    """A copy of the model in which only the parameters of the largest scores keep their values, and their share.

    Args:
        model: is not changed.
        names: the parameters that may be pruned, in one list.
        scores: by name, not negative.
        fraction: in (0, 1]; the number of kept parameters is rounded, and at least one.
        rest: by name, the values that the others get; None: zero.

    Raises:
        ConfigError: another fraction.
    """
    if not 0 < fraction <= 1:
        raise ConfigError(
            "A fraction of parameters is not usable.",
            expected="a number above 0 and of at most 1",
            got=f"{fraction}",
            remedy="Correct study.pruning.fractions.",
        )
    pruned = deepcopy(model)
    places = [(pruned.get_submodule(name.rpartition(".")[0]), name.rpartition(".")[2]) for name in names]
    total = sum(scores[name].numel() for name in names)
    kept = max(1, round(fraction * total))
    prune.global_unstructured(
        places,
        pruning_method=prune.L1Unstructured,
        importance_scores={place: scores[name] for place, name in zip(places, names, strict=True)},
        amount=total - kept,
    )
    for name, (module, own) in zip(names, places, strict=True):
        dropped = getattr(module, f"{own}_mask") == 0
        prune.remove(module, own)
        if rest is not None:
            with torch.no_grad():
                getattr(module, own)[dropped] = rest[name][dropped]
    return pruned, kept / total


def _pruned(
    run: Trajectory,
    experiment: Experiment,
    names: Sequence[str],
    initial: Mapping[str, Tensor],
    tests: Tensor,
    options: Mapping[str, Any],
    split: int,
) -> Iterator[tuple[str, str, float, nn.Module, float]]:
    """(method, "zero" or "initial", fraction, model, kept share), method after method."""
    seed = options["seed"] * 1_000_003 + split
    saliency = Saliency(run, experiment, tests, options, torch.Generator().manual_seed(seed))
    fractions = sorted(options["fractions"], reverse=True)
    for method in options["methods"]:
        if method.startswith("filters"):
            how = {
                "updates": options["retraining"] if method == "filters" else 0,
                "seed": seed * len(fractions),
            }
            for fraction, model, kept in prune_filters(experiment, names, fractions, run.config, **how):
                yield method, "zero", fraction, model, kept
            continue
        scores = saliency(method)
        for fraction in fractions:
            yield method, "zero", fraction, *keep_largest(experiment.model, names, scores, fraction)
        for fraction in fractions if method in options["reset"] else ():
            reset = keep_largest(experiment.model, names, scores, fraction, rest=initial)
            yield method, "initial", fraction, *reset


def _accuracy(outputs: Tensor, labels: Tensor) -> float:
    return float((outputs.argmax(-1) == labels.cpu()).double().mean())
