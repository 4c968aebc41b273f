"""Data and model of pretraining: the tokens, the language model, and the batches that train it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint
from explaind.config.folders import part
from explaind.errors import DataError
from explaind.experiments.language.batches import Batches, composition, spread
from explaind.features.units import Cut, Units, make_units
from explaind.text.tokens import Tokens, read_tokens

__all__ = ["Architecture", "Pretraining", "load", "pretraining"]


@dataclass(frozen=True)
class Architecture:
    """A kind of language model.

    Attributes:
        make: (configuration by transformers' names) → the model with random parameters.
        losses: (model, tokens [n, T]) → mean loss of the next token of each sequence [n], in nats.
        describe: (configuration, parameter name, shape) → the `Cut` of the parameter.
        components: kinds of components, from input to output, as the figures name them.
    """

    make: Callable[[Mapping[str, Any]], nn.Module]
    losses: Callable[[nn.Module, Tensor], Tensor]
    describe: Callable[[Mapping[str, Any], str, Sequence[int]], Cut]
    components: tuple[str, ...]

    def cut(self, checkpoint: Checkpoint) -> dict[str, Cut]:
        """How each parameter of a checkpoint is divided."""
        return {
            name: self.describe(checkpoint.config, name, checkpoint.shape(name))
            for name in checkpoint.names()
        }

    def units(self, checkpoint: Checkpoint) -> Units:
        """The units that influences on a checkpoint's parameters are resolved into."""
        cuts = self.cut(checkpoint)
        return make_units({name: checkpoint.shape(name) for name in cuts}, lambda name, shape: cuts[name])


@dataclass(frozen=True)
class Pretraining:
    """Everything that training a model, or explaining one of its updates, needs.

    Attributes:
        tokens: packed sequences of training and held-out text, with their languages.
        counts: sequences of each training language in a batch.
        seed: fixes the initial parameters and the order of the batches.
        architecture: the kind of model.
        config: the model's configuration by transformers' names.
    """

    tokens: Tokens
    counts: tuple[int, ...]
    seed: int
    architecture: Architecture
    config: dict[str, Any]

    def make_model(self) -> nn.Module:
        """The model with the initial parameters of the seed; the global random state stays as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return self.architecture.make(self.config)

    def batches(self, stream: str = "train") -> Batches:
        """Step → positions of its training sequences: of the run, or of another stream with the same composition."""
        return Batches(self.tokens.train_language, self.counts, self.seed, stream)

    def heldout(self, each: int, *, trained: bool = False) -> tuple[Tensor, Tensor]:
        """`each` held-out sequences of every language [n, T], and their languages [n], sorted by language.

        Args:
            each: sequences of a language.
            trained: only of languages that are trained on, so that they are of the batches' own distribution.

        Raises:
            DataError: there are no such sequences.
        """
        chosen = spread(self.tokens.heldout_language, each)
        languages = self.tokens.heldout_language[chosen]
        if trained:
            known = [name in self.tokens.languages for name in self.tokens.heldout_languages]
            chosen = chosen[torch.tensor(known)[languages]]
        if len(chosen) == 0:
            raise DataError(
                "There is no held-out text of the languages that are trained on.",
                expected=f"at least one of {', '.join(self.tokens.languages)}",
                got=", ".join(self.tokens.heldout_languages),
                remedy="Correct data.heldout.languages.",
            )
        return self.tokens.heldout[chosen], self.tokens.heldout_language[chosen]


def load(config: Mapping[str, Any], tokens: Path) -> Pretraining:
    """Build the experiment `config["name"]` on the tokens that the workflow made.

    Args:
        config: `name`, `model`, `data.context` and `train.{batch,mix,seed}`.
        tokens: a store of `explaind.text.tokens`.

    Raises:
        ConfigError: no such experiment, or a batch cannot hold every language.
        DataError: the tokens are not of this model's vocabulary or context.
    """
    return part(config["name"], "build").build(config, tokens)


def pretraining(
    config: Mapping[str, Any], tokens: Path, architecture: Architecture, shape: dict[str, Any]
) -> Pretraining:
    """An experiment's data and model.

    Args:
        config, tokens: as of `load`.
        architecture: the kind of model.
        shape: its configuration by transformers' names.
    """
    text = read_tokens(tokens, vocabulary=config["model"]["vocabulary"], context=config["data"]["context"])
    train = config["train"]
    sequences = torch.bincount(text.train_language, minlength=len(text.languages)).tolist()
    return Pretraining(
        tokens=text,
        counts=composition(sequences, train["batch"], train["mix"]),
        seed=train["seed"],
        architecture=architecture,
        config=shape,
    )
