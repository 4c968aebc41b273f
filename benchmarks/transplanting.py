"""Training the networks of all seeds as one batch against one after the other: seconds of an update per network.

`explaind.studies.transplant` trains one network after the other, all on the same full batch. Batched over networks with
`stack_module_state` and `vmap`, every matrix product becomes a batched one, and the table that is looked up is one per network.
Target: one after the other is not slower; otherwise the choice should be revised.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, stack_module_state, vmap

from benchmarks.setting import SEED, configuration, show, threads, timed
from explaind.experiments.build import load, make_optimizer
from explaind.experiments.experiment import Experiment

SEEDS, ROUNDS = (101, 102, 103, 104, 105), 3

Update = Callable[[], Any]
Parameters = dict[str, Tensor]


def run(folder: Path) -> None:
    """Both ways in turns, the fastest round of each; with one thread (as a job trains) and with two."""
    config = configuration()
    experiment = load(config, seed=SEED)
    (single, alone), (batched, together) = (
        make(config, experiment, SEEDS) for make in (one_by_one, as_a_batch)
    )
    rows = []
    for count in (1, 2):
        with threads(count):
            pairs = [(timed(single)[1], timed(batched)[1]) for _ in range(ROUNDS + 1)][1:]
        one, many = (min(part) / len(SEEDS) for part in zip(*pairs, strict=True))
        rows.append((count, one, many, many / one, difference(alone(), together())))
    show(
        f"an update of {len(SEEDS)} networks: one by one no slower than batched (ratio ≥ 1)",
        ("threads", "one by one, s a network", "batched, s a network", "ratio", "difference"),
        rows,
    )


def one_by_one(
    config: Mapping[str, Any], experiment: Experiment, seeds: Sequence[int]
) -> tuple[Update, Callable[[], Parameters]]:
    """An update of the networks of all seeds, one after the other; and what gives their parameters, each [seeds, …]."""
    models = [experiment.make_model(seed) for seed in seeds]
    optimizers = [make_optimizer(config, model) for model in models]
    inputs, targets = experiment.train

    def update() -> None:
        for model, optimizer in zip(models, optimizers, strict=True):
            optimizer.zero_grad()
            experiment.loss(model(inputs), targets).backward()
            optimizer.step()

    return update, lambda: {name: value.detach() for name, value in stack_module_state(models)[0].items()}


def as_a_batch(
    config: Mapping[str, Any], experiment: Experiment, seeds: Sequence[int]
) -> tuple[Update, Callable[[], Parameters]]:
    """The same as one batched network. AdamW acts on each parameter alone, so that one optimizer moves all networks."""
    models = [experiment.make_model(seed) for seed in seeds]
    skeleton = copy.deepcopy(models[0]).to("meta")
    parameters, buffers = stack_module_state(models)
    parameters = {name: value.detach().requires_grad_() for name, value in parameters.items()}
    options = {name: value for name, value in config["optimizer"].items() if name != "name"}
    optimizer = torch.optim.AdamW(parameters.values(), **options | {"betas": tuple(options["betas"])})
    inputs, targets = experiment.train

    def loss(theta: Parameters, constants: Parameters) -> Tensor:
        return experiment.loss(functional_call(skeleton, (theta, constants), (inputs,)), targets)

    def update() -> None:
        optimizer.zero_grad()
        vmap(loss)(parameters, buffers).sum().backward()
        optimizer.step()

    return update, lambda: {name: value.detach() for name, value in parameters.items()}


def difference(first: Parameters, second: Parameters) -> float:
    """The largest difference of any parameter."""
    return max(float((value - second[name]).abs().max()) for name, value in first.items())
