"""An experiment and its optimizer, built from a resolved configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from explaind.config.folders import part
from explaind.errors import ConfigError
from explaind.experiments.experiment import Experiment

__all__ = ["load", "make_optimizer"]


def load(config: Mapping[str, Any], *, seed: int | None = None) -> Experiment:
    """Build the experiment `config["name"]` from one seed.

    Args:
        config: resolved configuration; read here are `name`, `data`, `model`, `train`, the files that the workflow
            adds (`files`) and, if `seed` is None, `seed`.
        seed: fixes both the data split and the initial parameters; a recorded run stores its own in `config["seed"]`.

    Returns:
        The experiment. The global random state is left as it was found.

    Raises:
        ConfigError: unknown experiment, or no seed given anywhere.
    """
    build = part(config["name"], "build").build
    if seed is None:
        if config.get("seed") is None:
            raise ConfigError(
                "The experiment needs a seed.",
                expected="an argument seed=… or a key 'seed' in the configuration",
                got="neither",
                remedy="Pass the seed; the configuration stored with a recorded run holds it.",
            )
        seed = int(config["seed"])
    return build(config, seed)


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
