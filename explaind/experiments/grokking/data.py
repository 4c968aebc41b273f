"""Modular arithmetic: pairs a >= b as the sequence [a, ∘, b, =], labelled (a ∘ b) mod p.

Tokens 0..p-1 are the numbers, p is the operation, p+1 is "=". A pair and its mirror image count once, so there are p(p+1)/2
samples of addition (6,441 for the paper's p = 113) and a test sample never is a training sample with its numbers exchanged.

The operation must be commutative: without positions the model gives (a, b) and (b, a) the same output, so that subtraction and
division are out of its reach.

The labels lie on a cycle: those of addition as they are, the products of 1..p-1 (p prime) by their discrete logarithm, which
turns products into sums modulo p-1. What can be cyclic in the labels is cyclic in their positions.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from explaind.errors import ConfigError

__all__ = ["Pairs", "all_pairs", "cycle", "split_pairs"]


class Pairs(NamedTuple):
    """Samples, all int64: tokens `[N, 4]`, labels `[N]` = (a ∘ b) mod p, sums `[N]` of the positions of a and b."""

    tokens: Tensor
    labels: Tensor
    sums: Tensor


def cycle(modulus: int, operation: str = "addition") -> Tensor:
    """The numbers that the operation combines, in the order of its cycle: 0, 1, 2, … or g⁰, g¹, g², … of the least generator g.

    Raises:
        ConfigError: multiplication modulo a number that is not prime has no such cycle.
    """
    if operation == "addition":
        return torch.arange(modulus)
    for generator in range(1, modulus):
        powers = [pow(generator, exponent, modulus) for exponent in range(modulus - 1)]
        if len(set(powers)) == modulus - 1 and 0 not in powers:
            return torch.tensor(powers)
    raise ConfigError(
        f"The products modulo {modulus} are not one cycle.",
        expected="a prime data.modulus",
        got=str(modulus),
        remedy="Choose a prime, or data.operation=addition.",
    )


def all_pairs(modulus: int, operation: str = "addition") -> Pairs:
    """All pairs a >= b, ordered by a, then by b: p(p+1)/2 of addition, p(p-1)/2 of multiplication."""
    numbers = cycle(modulus, operation)
    position = torch.full((modulus,), -1)
    position[numbers] = torch.arange(len(numbers))
    low = int(numbers.min())
    a, b = torch.tril_indices(len(numbers), len(numbers)) + low
    labels = (a + b if operation == "addition" else a * b) % modulus
    sign, equals = torch.full_like(a, modulus), torch.full_like(a, modulus + 1)
    return Pairs(torch.stack([a, sign, b, equals], dim=1), labels, position[a] + position[b])


def split_pairs(
    modulus: int, train_size: int, test_size: int, seed: int, operation: str = "addition"
) -> tuple[Pairs, Pairs]:
    """Disjoint training and test samples, drawn without replacement by a generator started with `seed`.

    Args:
        modulus: p.
        train_size, test_size: numbers of samples; together at most the number of pairs.
        seed: the run's seed.
        operation: "addition" or "multiplication".

    Returns:
        Training and test samples, each in the order in which they were drawn.

    Raises:
        ConfigError: more samples asked for than there are pairs.
    """
    pairs = all_pairs(modulus, operation)
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
