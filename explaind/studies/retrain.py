"""Subsets of a training set, and models trained on them: what a datamodel is measured against.

Notation: N training samples; a fraction α in (0, 1), or "leave-one-out"; subset m is the m-th of its fraction.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor

from explaind.config.declarations import Stage
from explaind.errors import ConfigError
from explaind.experiments.build import load, make_optimizer
from explaind.runtime.device import find_device
from explaind.runtime.durable import each
from explaind.runtime.progress import track
from explaind.store import write_dataset
from explaind.training.batches import Order
from explaind.training.loop import train_silently
from explaind.training.reproducible import reproducible

__all__ = ["LEAVE_ONE_OUT", "members", "write"]

STAGE = Stage(
    options=(
        "name",
        "data",
        "model",
        "optimizer",
        "train",
        "study.datamodel.seeds",
        "study.datamodel.seed",
        "study.attribution.tests",
    ),
    without=("train.seed",),
    requires="study.datamodel",
    each="subsets",
    threads="train.threads",
    memory=2000,
    runtime=240,
    gpu=True,
    priority=4,
)

LEAVE_ONE_OUT = "leave-one-out"


def members(samples: int, fraction: str, number: int, seed: int) -> Tensor:
    """Positions of the training samples in subset `number` of `fraction`, rising.

    Args:
        samples: N.
        fraction: a decimal number in (0, 1), drawn without replacement; or `LEAVE_ONE_OUT`, where the subsets leave out
            different samples.
        number: m. A subset does not depend on how many others there are.
        seed: of the drawing.

    Raises:
        ConfigError: another fraction, or more left-out samples than there are.
    """
    if fraction == LEAVE_ONE_OUT:
        if number >= samples:
            raise ConfigError(
                "There are fewer samples than subsets that leave one out.", got=f"{number} of {samples}"
            )
        order = torch.randperm(samples, generator=torch.Generator().manual_seed(seed))
        return torch.cat([order[:number], order[number + 1 :]]).sort().values
    try:
        share = float(fraction)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        raise ConfigError(
            "A fraction of the training set is not usable.",
            expected=f"a number above 0 and below 1, or {LEAVE_ONE_OUT}",
            got=fraction,
            remedy="Correct study.datamodel.fractions.",
        )
    size = max(1, round(share * samples))
    generator = torch.Generator().manual_seed(seed * 1_000_003 + round(share * 1e6) * 4099 + number)
    return torch.randperm(samples, generator=generator)[:size].sort().values


def write(config: Mapping[str, Any], *, fraction: str, start: int, stop: int, output: Path) -> None:
    """Train the subsets start … stop−1 of a fraction from every seed, and keep the test samples' outputs.

    As in the paper, everything but the samples stays: batch size, epochs, learning rate. A smaller set has fewer batches,
    hence fewer updates. Only where a single sample is left out do all others stay in their batches, so that its absence is the
    only difference.

    Args:
        config: resolved configuration with `study.datamodel.{seed,seeds}` and `study.attribution.tests`. The samples are those
            of the explained run, whose seed is the first of `train.seeds`; `seeds` fix initial parameters and order.
        fraction: see `members`.
        start, stop: range of subsets.
        output: the store "retrained" to write: outputs (subset, seed, test, output), steps (subset).

    Raises:
        TrainingError: a loss became NaN or infinite.
    """
    options, training = config["study"]["datamodel"], config["train"]
    tests = config["study"]["attribution"]["tests"]
    with reproducible(training["threads"]):
        base = load(config, seed=training["seeds"][0]).to(find_device())
        count = len(base.train[1])
        whole = Order(count, training, 0).per_epoch
        jobs = [(m, seed) for m in range(start, stop) for seed in options["seeds"]]

        def trained(job: tuple[int, int]) -> tuple[Tensor, int]:
            """Outputs and number of updates of the model of one subset and seed."""
            m, seed = job
            chosen = members(count, fraction, m, options["seed"])
            order = Order(count, training, seed, members=chosen, packed=fraction != LEAVE_ONE_OUT)
            steps = max(1, round(training["max_steps"] / whole * order.per_epoch))
            experiment = base.with_initial_parameters(seed)
            optimizer = make_optimizer(config, experiment.model)
            train_silently(experiment, optimizer, training, order, steps)
            return experiment.outputs(base.test[0][:tests]).cpu(), steps

        models = each("models", jobs, trained)
        models = track(models, total=len(jobs), description=f"retraining, {fraction}", unit="model")
        per_model, lengths = zip(*models, strict=True)
    outputs = torch.stack(per_model).unflatten(0, (stop - start, len(options["seeds"]))).numpy()
    dataset = xr.Dataset(
        {
            "outputs": (("subset", "seed", "test", "output"), outputs),
            "steps": ("subset", np.array(lengths[:: len(options["seeds"])])),
        },
        coords={"subset": np.arange(start, stop), "seed": np.array(options["seeds"])},
        attrs={"fraction": fraction, "drawn_from": options["seed"]},
    )
    write_dataset(dataset, output, kind="retrained")
