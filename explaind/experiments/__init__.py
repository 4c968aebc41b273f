"""Experiments: the data, the model, the loss and the optimizer of each, built from a resolved configuration.

An experiment is one folder here (`explaind/experiments/<name>/`) that defines `build(config, seed)`, and one file in
`conf/experiment/`. Nothing else in the project knows its data or its architecture.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from explaind.errors import ConfigError
from explaind.features.samples import Augmented, View

__all__ = ["Experiment", "load", "make_optimizer", "parameters_by_layer", "seeded"]

EVALUATED = 4096  # samples in one forward pass of an evaluation


@dataclass(frozen=True)
class Experiment:
    """Everything a stage needs to train or to explain one run.

    Attributes:
        name: name of the folder in `explaind/experiments/`.
        seed: the one seed that fixed the data split and the initial parameters.
        make_model: (seed) → the model with the initial parameters of that seed, in float32, on the CPU.
        model: `make_model(seed)`.
        loss: `(outputs [N, O], targets [N]) -> scalar`, the mean over the batch.
        train, test: `(inputs, targets)`, disjoint; the first axis counts samples.
        heldout: more samples that are in neither, for studies that rank by a loss; None if there are none.
        names: of the classes, for figures; empty: their numbers.
        view: makes the view of a training sample that a run saw (`Augmented`); None without augmentation.
        groups: layer name -> parameter names, in the order in which figures show the layers.
        train_key, test_key: integers `[N]` by which figures sort samples.
        classes: number of outputs O.
    """

    name: str
    seed: int
    make_model: Callable[[int], nn.Module]
    model: nn.Module
    loss: Callable[[Tensor, Tensor], Tensor]
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]
    groups: dict[str, tuple[str, ...]]
    train_key: Tensor
    test_key: Tensor
    classes: int
    heldout: tuple[Tensor, Tensor] | None = None
    view: View | None = None
    names: tuple[str, ...] = ()

    @property
    def training(self) -> Any:
        """The training samples as `explaind.influence(train=...)` takes them."""
        return self.train if self.view is None else Augmented(self.train, self.view)

    def seen(self, indices: Tensor, views: Tensor | None) -> tuple[Tensor, Tensor]:
        """The training samples `indices` [n] as the model sees them in their `views` [n], and their targets."""
        inputs, targets = (part[indices] for part in self.train)
        return inputs if views is None else self.view(inputs, views), targets

    def to(self, device: torch.device) -> Experiment:
        """The experiment with its model and samples on a device; itself where they are there already."""
        if device.type == "cpu":
            return self

        def moved(pair: tuple[Tensor, Tensor] | None) -> Any:
            return pair and tuple(part.to(device) for part in pair)

        model, make = self.model.to(device), self.make_model
        return replace(
            self,
            model=model,
            make_model=lambda seed: make(seed).to(device),
            train=moved(self.train),
            test=moved(self.test),
            heldout=moved(self.heldout),
        )

    def with_initial_parameters(self, seed: int) -> Experiment:
        """The same data, with a model that starts from another seed."""
        return replace(self, model=self.make_model(seed), seed=seed)

    def outputs(self, inputs: Tensor) -> Tensor:
        """The model's outputs [N, O] without gradients, a block of samples at a time."""
        with torch.no_grad():
            return torch.cat([self.model(part) for part in inputs.split(EVALUATED)])


def seeded(make: Callable[[], nn.Module]) -> Callable[[int], nn.Module]:
    """(seed) → the model that `make` gives with torch's generator started there; the global random state stays as it was."""

    def from_seed(seed: int) -> nn.Module:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return make()

    return from_seed


def parameters_by_layer(model: nn.Module) -> dict[str, tuple[str, ...]]:
    """Child of the model -> names of its parameters, in the model's order."""
    groups: dict[str, list[str]] = {}
    for name, _ in model.named_parameters():
        groups.setdefault(name.split(".")[0], []).append(name)
    return {layer: tuple(names) for layer, names in groups.items()}


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
