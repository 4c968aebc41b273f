"""Data and model of pretraining: the tokens, the Llama, and the batches that train it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explaind.errors import DataError
from explaind.experiments.eurollm.batches import Batches, composition, spread
from explaind.experiments.eurollm.model import llama_config, make_llama
from explaind.text.tokens import Tokens, read_tokens

__all__ = ["Pretraining", "load"]


@dataclass(frozen=True)
class Pretraining:
    """Everything that training a model, or explaining one of its updates, needs.

    Attributes:
        tokens: packed sequences of training and held-out text, with their languages.
        counts: sequences of each training language in a batch.
        seed: fixes the initial parameters and the order of the batches.
        llama: the model's configuration by transformers' names.
    """

    tokens: Tokens
    counts: tuple[int, ...]
    seed: int
    llama: dict[str, Any]

    def make_model(self) -> nn.Module:
        """The model with the initial parameters of the seed; the global random state stays as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return make_llama(self.llama)

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
    """The experiment on the tokens that the workflow made.

    Args:
        config: `model`, `data.context` and `train.{batch,mix,seed}`.
        tokens: a store of `explaind.text.tokens`.

    Raises:
        ConfigError: a batch cannot hold every language.
        DataError: the tokens are not of this model's vocabulary or context.
    """
    context = config["data"]["context"]
    found = read_tokens(tokens, vocabulary=config["model"]["vocabulary"], context=context)
    train = config["train"]
    sequences = torch.bincount(found.train_language, minlength=len(found.languages)).tolist()
    return Pretraining(
        tokens=found,
        counts=composition(sequences, train["batch"], train["mix"]),
        seed=train["seed"],
        llama=llama_config(config["model"], context),
    )
