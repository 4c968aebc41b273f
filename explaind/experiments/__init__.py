"""Experiments: the data, the model, the loss and the optimizer of each, built from a resolved configuration.

An experiment is one folder here (`explaind/experiments/<name>/`) that defines `build(config, seed)`, and one file in
`conf/experiment/`. Nothing else in the project knows its data or its architecture.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from explaind.errors import ConfigError

__all__ = ["Experiment", "load", "make_optimizer"]


@dataclass(frozen=True)
class Experiment:
    """Everything a stage needs to train or to explain one run.

    Attributes:
        name: name of the folder in `explaind/experiments/`.
        seed: the one seed that fixed the data split and the initial parameters.
        model: freshly initialised, in float32, on the CPU.
        loss: `(outputs [N, O], targets [N]) -> scalar`, the mean over the batch.
        train, test: `(inputs, targets)`, disjoint; the first axis counts samples.
        groups: layer name -> parameter names, in the order in which figures show the layers.
        train_key, test_key: integers `[N]` by which figures sort samples.
        classes: number of outputs O.
    """

    name: str
    seed: int
    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    groups: dict[str, tuple[str, ...]]
    train_key: Tensor
    test_key: Tensor
    classes: int


def load(config: Mapping[str, Any], *, seed: int | None = None) -> Experiment:
    """Build the experiment `config["name"]` from one seed.

    Args:
        config: resolved configuration; read here are `name`, `data`, `model` and, if `seed` is None, `seed`.
        seed: fixes both the data split and the initial parameters; a recorded run stores its own in `config["seed"]`.

    Returns:
        The experiment. The global random state is left as it was found.

    Raises:
        ConfigError: unknown experiment, or no seed given anywhere.
    """
    name = config["name"]
    module = f"{__name__}.{name}"
    if not str(name).isidentifier() or importlib.util.find_spec(module) is None:
        raise ConfigError(
            f"There is no experiment called {name!r}.",
            expected="the name of a folder in explaind/experiments",
            got=repr(name),
            remedy="Choose an experiment that exists, or add its folder and its file in conf/experiment.",
        )
    if seed is None:
        if config.get("seed") is None:
            raise ConfigError(
                "The experiment needs a seed.",
                expected="an argument seed=… or a key 'seed' in the configuration",
                got="neither",
                remedy="Pass the seed; the configuration stored with a recorded run holds it.",
            )
        seed = int(config["seed"])
    return importlib.import_module(module).build(config, seed)


def make_optimizer(config: Mapping[str, Any], model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of `config["optimizer"]` over all parameters of `model`, as one group.

    Args:
        config: resolved configuration; `config["optimizer"]` holds `name` (AdamW, Adam or SGD) and that class's own options.
        model: the model to train.

    Raises:
        ConfigError: unknown optimizer, or an option that this optimizer does not have.
    """
    options = dict(config["optimizer"])
    name = options.pop("name")
    known = {"AdamW": torch.optim.AdamW, "Adam": torch.optim.Adam, "SGD": torch.optim.SGD}
    if name not in known:
        raise ConfigError(
            "The configured optimizer is not one that can be explained.",
            expected=" or ".join(known),
            got=repr(name),
            remedy="Set optimizer.name to one of these.",
        )
    if "betas" in options:
        options["betas"] = tuple(options["betas"])
    try:
        return known[name](model.parameters(), **options)
    except TypeError as error:
        raise ConfigError(
            f"torch.optim.{name} does not accept the configured options.",
            expected=f"options of torch.optim.{name}",
            got=", ".join(sorted(options)),
            remedy=f"Correct conf/optimizer: {error}.",
        ) from error
