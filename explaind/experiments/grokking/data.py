"""Modulo addition: every pair a >= b of 0..p-1 as the sequence [a, +, b, =], labelled (a + b) mod p.

Tokens 0..p-1 are the numbers, p is "+", p+1 is "=". A pair and its mirror image count once, so there are p(p+1)/2
samples (6,441 for the paper's p = 113) and a test sample never is a training sample with its numbers exchanged.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from explaind.errors import ConfigError

__all__ = ["Pairs", "all_pairs", "split_pairs"]


class Pairs(NamedTuple):
    """Samples of modulo addition, all int64: tokens `[N, 4]`, labels `[N]` = (a+b) mod p, sums `[N]` = a+b."""

    tokens: Tensor
    labels: Tensor
    sums: Tensor


def all_pairs(modulus: int) -> Pairs:
    """All p(p+1)/2 pairs a >= b, ordered by a, then by b."""
    a, b = torch.tril_indices(modulus, modulus)
    plus, equals = torch.full_like(a, modulus), torch.full_like(a, modulus + 1)
    return Pairs(torch.stack([a, plus, b, equals], dim=1), (a + b) % modulus, a + b)


def split_pairs(modulus: int, train_size: int, test_size: int, seed: int) -> tuple[Pairs, Pairs]:
    """Disjoint training and test samples, drawn without replacement by a generator started with `seed`.

    Args:
        modulus: p.
        train_size, test_size: numbers of samples; together at most p(p+1)/2.
        seed: the run's seed.

    Returns:
        Training and test samples, each in the order in which they were drawn.

    Raises:
        ConfigError: more samples asked for than there are pairs.
    """
    pairs = all_pairs(modulus)
    count = len(pairs.labels)
    if train_size < 1 or test_size < 1 or train_size + test_size > count:
        raise ConfigError(
            f"Modulo {modulus} does not have enough pairs for this split.",
            expected=f"at least one training and one test sample, at most {count} together",
            got=f"{train_size} + {test_size}",
            remedy="Lower data.train or data.test, or raise data.modulus.",
        )
    order = torch.randperm(count, generator=torch.Generator().manual_seed(seed))
    train, test = order[:train_size], order[train_size : train_size + test_size]
    return Pairs(*(field[train] for field in pairs)), Pairs(*(field[test] for field in pairs))
