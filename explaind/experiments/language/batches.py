"""Which sequences an update sees: a fixed number from every language, drawn without replacement until a language has run out.

A batch is a function of its step alone, so a training run continues from any checkpoint with the batches it would have seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from zlib import crc32

import numpy as np
import torch
from torch import Tensor

from explaind.errors import ConfigError

__all__ = ["Batches", "composition", "spread"]


def composition(sequences: Sequence[int], batch: int, exponent: float) -> tuple[int, ...]:
    """Sequences of each language in a batch: in proportion to (its sequences)^exponent, at least one.

    Args:
        sequences: number of training sequences of each language.
        batch: sequences in a batch.
        exponent: 1 for the languages' own shares, 0 for equal ones.

    Raises:
        ConfigError: fewer sequences in a batch than languages.
    """
    if batch < len(sequences):
        raise ConfigError(
            "A batch cannot hold every language.",
            expected=f"train.batch of at least {len(sequences)} sequences",
            got=str(batch),
            remedy="Raise train.batch, or leave languages out of data.languages.",
        )
    share = np.asarray(sequences, float) ** exponent
    ideal = (batch - len(sequences)) * share / share.sum()  # besides one sequence of each
    counts = np.floor(ideal).astype(int)
    for language in np.argsort(counts - ideal, kind="stable")[: batch - len(sequences) - counts.sum()]:
        counts[language] += 1
    return tuple(int(count) + 1 for count in counts)


class Batches:
    """The batches of one stream.

    Args:
        language: of every training sequence, int64 [N].
        counts: sequences of each language in a batch, as `composition` gives them.
        seed: fixes the order in which sequences are drawn.
        stream: batches of different streams are drawn independently of each other.
    """

    def __init__(self, language: Tensor, counts: Sequence[int], seed: int, stream: str = "train") -> None:
        self._members = [torch.nonzero(language == index).squeeze(1) for index in range(len(counts))]
        self._counts, self._seed, self._stream = tuple(counts), seed, stream
        self._orders: dict[tuple[int, int], Tensor] = {}

    def __call__(self, step: int) -> Tensor:
        """Positions of the training sequences of one update, sorted by language, int64 [batch]."""
        parts = []
        for index, count in enumerate(self._counts):
            members = self._members[index]
            for place in range(step * count, (step + 1) * count):
                epoch, position = divmod(place, len(members))
                parts.append(members[self._order(index, epoch)[position]])
        return torch.stack(parts)

    def _order(self, language: int, epoch: int) -> Tensor:
        """The order in which an epoch draws the sequences of a language."""
        key = (language, epoch)
        if key not in self._orders:
            seed = crc32(f"{self._stream}/{self._seed}/{language}/{epoch}".encode())
            generator = torch.Generator().manual_seed(seed)
            self._orders[key] = torch.randperm(len(self._members[language]), generator=generator)
        return self._orders[key]


def spread(language: Tensor, each: int) -> Tensor:
    """Positions of `each` sequences of every language, evenly spread over its text (all, if it has fewer), sorted by language."""
    parts = []
    for index in range(int(language.max()) + 1):
        members = torch.nonzero(language == index).squeeze(1)
        count = min(each, len(members))
        parts.append(members[(torch.arange(count) * len(members)) // max(1, count)])
    return torch.cat(parts)
