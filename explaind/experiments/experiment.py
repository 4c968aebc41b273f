"""What a stage needs of an experiment that is recorded: data, model, loss, layers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn

from explaind.features.samples import Augmented, View

__all__ = ["Experiment", "parameters_by_layer", "seeded"]

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
        heads: name of each attention head -> names of its parameters; empty where there is no attention, or heads share tensors.
        view: makes the view of a training sample that a run saw (`Augmented`); None without augmentation.
        groups: layer name -> parameter names, in the order in which figures show the layers.
        train_key, test_key: integers `[N]` by which figures sort samples.
        classes: number of outputs O.
        cycle: classes `[p]` in the order in which the labels come round; None where they do not.
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
    cycle: Tensor | None = None
    heads: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

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
