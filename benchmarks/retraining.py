"""Retraining several models at once against one after the other: seconds of a step's gradients per model.

`explaind.studies.retrain` trains one model after the other, one job per core. Batched over models with
`stack_module_state` and `vmap`, convolutions get a kernel per model. Target: one after the other is not
slower on one thread; otherwise the choice should be revised. The images are noise, since timing depends on
shapes only.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.func import functional_call, grad, stack_module_state, vmap

from benchmarks.setting import of_noise, show, threads, timed
from explaind.config import compose

MODELS, ROUNDS = 8, 5


def run(folder: Path) -> None:
    """Both ways in turns, the fastest round of each; with one thread (as a job trains) and with two."""
    rows = []
    for name in ("mnist", "cifar2"):
        config = compose(name, "default")
        single, batched, error = _both(config)
        for count in (1, 2):
            with threads(count):
                pairs = [(timed(single)[1], timed(batched)[1]) for _ in range(ROUNDS + 1)][1:]
            one, many = (min(part) / MODELS for part in zip(*pairs, strict=True))
            rows.append((name, config["train"]["batch"], count, one, many, many / one, error))
    show(
        f"gradients of a step of {MODELS} models: one by one no slower than batched (ratio ≥ 1)",
        ("model", "batch", "threads", "one by one, s a model", "batched, s a model", "ratio", "difference"),
        rows,
    )


def _both(config: dict[str, Any]) -> tuple[Callable[[], Any], Callable[[], Any], float]:
    """The two ways as calls, and the largest difference of gradients, relative to the largest gradient."""
    experiment = of_noise(config, MODELS * config["train"]["batch"], 1)
    models = [experiment.make_model(seed) for seed in range(MODELS)]
    inputs, targets = (part.unflatten(0, (MODELS, -1)) for part in experiment.train)  # a batch for each model
    skeleton = copy.deepcopy(models[0]).to("meta")
    parameters, buffers = stack_module_state(models)
    parameters = {name: value.detach() for name, value in parameters.items()}

    def loss(theta: dict[str, Tensor], constants: dict[str, Tensor], x: Tensor, y: Tensor) -> Tensor:
        return experiment.loss(functional_call(skeleton, (theta, constants), (x,)), y)

    def single() -> None:
        for model, x, y in zip(models, inputs, targets, strict=True):
            model.zero_grad()
            experiment.loss(model(x), y).backward()

    def batched() -> dict[str, Tensor]:
        return vmap(grad(loss))(parameters, buffers, inputs, targets)

    single()
    errors = []
    for name, found in batched().items():
        expected = torch.stack([model.get_parameter(name).grad for model in models])
        errors.append(float((found - expected).abs().max() / expected.abs().max()))
    return single, batched, max(errors)
