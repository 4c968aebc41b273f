"""The order of a run's samples: a function of the step alone, the same for all samples that take part."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
import torch
from torch import Tensor

from explaind.errors import ConfigError
from explaind.experiments.images import mirrored
from explaind.training.batches import Order
from explaind.training.schedule import rate

RULE = {"batch": 4, "drop_last": False, "flip": "horizontal", "schedule": "constant", "peak_epoch": None}


def rule(**changes: Any) -> dict[str, Any]:
    return {**RULE, **changes}


def epoch(order: Order, number: int = 0) -> list[tuple[Tensor, Tensor | None]]:
    """The batches of one pass."""
    return [order(step) for step in range(number * order.per_epoch, (number + 1) * order.per_epoch)]


def indices(batches: list[tuple[Tensor, Tensor | None]]) -> list[int]:
    return torch.cat([part for part, _ in batches]).tolist()


def flips(batches: list[tuple[Tensor, Tensor | None]]) -> dict[int, int]:
    """Sample → its flip."""
    return {k: int(flip) for part, views in batches for k, flip in zip(part.tolist(), views, strict=True)}


def same(first: tuple[Tensor, Tensor | None], second: tuple[Tensor, Tensor | None]) -> bool:
    """The same indices and the same views."""
    return all(a is b is None or torch.equal(a, b) for a, b in zip(first, second, strict=True))


@pytest.mark.parametrize(
    ("samples", "drop", "sizes"),
    [
        (8, False, [4, 4]),
        (8, True, [4, 4]),
        (10, False, [4, 4, 2]),
        (10, True, [4, 4]),
        (3, False, [3]),
        (4, True, [4]),
    ],
)
def test_every_epoch_meets_every_sample_at_most_once(samples: int, drop: bool, sizes: list[int]) -> None:
    order = Order(samples, rule(drop_last=drop), 0)
    assert order.per_epoch == len(sizes)
    for number in range(3):
        batches = epoch(order, number)
        assert [len(part) for part, _ in batches] == sizes
        met = indices(batches)
        assert len(set(met)) == len(met) == sum(sizes)
        assert set(met) <= set(range(samples))


def test_every_epoch_has_an_order_of_its_own() -> None:
    order = Order(40, RULE, 0)
    found = [indices(epoch(order, number)) for number in range(5)]
    assert len({tuple(met) for met in found}) == 5


def test_every_seed_has_orders_and_flips_of_its_own() -> None:
    found = [epoch(Order(40, RULE, seed), number) for seed in (0, 1, 2, 2025) for number in range(4)]
    assert len({tuple(indices(batches)) for batches in found}) == 16
    assert len({tuple(sorted(flips(batches).items())) for batches in found}) == 16


def test_dropped_samples_return_in_another_epoch() -> None:
    order = Order(10, rule(drop_last=True), 0)
    assert {k for number in range(20) for k in indices(epoch(order, number))} == set(range(10))


def test_a_batch_follows_from_its_step_and_not_from_the_steps_before() -> None:
    forward = [Order(10, RULE, 5)(step) for step in range(9)]  # each from an order of its own
    order = Order(10, RULE, 5)
    for step in (8, 0, 4, 4, 7, 1, 3, 2, 6, 5, 8):
        assert same(order(step), forward[step])


def test_the_global_random_state_is_neither_read_nor_changed() -> None:
    torch.manual_seed(1)
    state = torch.get_rng_state()
    first = Order(10, RULE, 5)(0)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert same(Order(10, RULE, 5)(0), first)


def test_without_batches_all_samples_come_in_their_order() -> None:
    order = Order(10, rule(batch=None, flip="none"), 0)
    assert order.per_epoch == 1
    for step in (0, 7):
        assert order(step)[0].tolist() == list(range(10))
        assert order(step)[1] is None
    members = torch.tensor([7, 2, 3])
    for packed in (True, False):
        order = Order(10, rule(batch=None, flip="none"), 0, members=members, packed=packed)
        assert order(4)[0].tolist() == [2, 3, 7]


# Flips.


def test_flips_are_asked_for() -> None:
    assert all(views is None for _, views in epoch(Order(10, rule(flip="none"), 0)))
    for part, views in epoch(Order(10, RULE, 0)):
        assert (views.dtype, views.shape) == (torch.int64, part.shape)


def test_flips_leave_the_order_alone() -> None:
    plain, flipped = Order(10, rule(flip="none"), 0), Order(10, RULE, 0)
    assert indices(epoch(plain)) == indices(epoch(flipped))


def test_half_of_the_samples_are_flipped_and_others_in_each_epoch() -> None:
    order = Order(1000, rule(batch=100), 0)
    found = [flips(epoch(order, number)) for number in range(3)]
    for one in found:
        assert set(one.values()) == {0, 1}
        assert 430 < sum(one.values()) < 570
    for first, second in pairwise(found):
        assert 400 < sum(first[k] != second[k] for k in range(1000)) < 600


@pytest.mark.parametrize("packed", [True, False])
def test_a_sample_is_flipped_alike_when_others_are_left_out(packed: bool) -> None:
    members = torch.tensor([0, 3, 4, 8, 11, 12, 17])
    whole, part = Order(20, RULE, 3), Order(20, RULE, 3, members=members, packed=packed)
    for number in range(4):
        everyone = flips(epoch(whole, number))
        assert flips(epoch(part, number)) == {k: everyone[k] for k in members.tolist()}


# Members.


def test_packed_members_fill_their_batches_in_the_order_of_all() -> None:
    members = torch.tensor([0, 3, 4, 8, 11, 12, 17, 18, 19])
    whole, part = Order(20, RULE, 3), Order(20, RULE, 3, members=members)
    assert part.per_epoch == 3
    for number in range(3):
        batches = epoch(part, number)
        assert [len(one) for one, _ in batches] == [4, 4, 1]
        assert indices(batches) == [k for k in indices(epoch(whole, number)) if k in members]


def test_packed_members_drop_their_own_incomplete_batch() -> None:
    order = Order(20, rule(drop_last=True), 3, members=torch.arange(0, 18, 2))
    assert order.per_epoch == 2
    assert [len(part) for part, _ in epoch(order)] == [4, 4]


@pytest.mark.parametrize("drop", [True, False])
def test_members_that_are_not_packed_stay_in_their_batches(drop: bool) -> None:
    members = torch.tensor([k for k in range(18) if k not in (5, 13)])
    whole = Order(18, rule(drop_last=drop), 3)
    part = Order(18, rule(drop_last=drop), 3, members=members, packed=False)
    assert part.per_epoch == whole.per_epoch
    for number in range(4):
        for mine, (all_of_it, _) in zip(epoch(part, number), epoch(whole, number), strict=True):
            assert mine[0].tolist() == [k for k in all_of_it.tolist() if k not in (5, 13)]


def test_all_members_are_the_whole() -> None:
    for packed in (True, False):
        part = Order(10, RULE, 1, members=torch.arange(10), packed=packed)
        assert all(same(a, b) for a, b in zip(epoch(part), epoch(Order(10, RULE, 1)), strict=True))


@pytest.mark.parametrize(
    "make",
    [
        lambda: Order(3, rule(drop_last=True), 0),
        lambda: Order(0, RULE, 0),
        lambda: Order(20, rule(drop_last=True), 0, members=torch.arange(3)),
    ],
)
def test_fewer_samples_than_a_batch_needs_are_refused(make: Any) -> None:
    with pytest.raises(ConfigError, match="smaller than one batch.*at least 4 samples.*drop_last=false"):
        make()


# Mirror images and the learning rate.


def test_mirroring_is_an_involution_of_the_chosen_images() -> None:
    pixels = torch.randn(5, 3, 4, 6, generator=torch.Generator().manual_seed(0))
    views = torch.tensor([0, 1, 1, 0, 1])
    once = mirrored(pixels, views)
    assert torch.equal(mirrored(once, views), pixels)
    for image, found, view in zip(pixels, once, views, strict=True):
        assert torch.equal(found, image.flip(-1) if view else image)
    assert not torch.equal(once[1], pixels[1])
    assert torch.equal(mirrored(pixels, views.bool()), once)
    assert torch.equal(mirrored(pixels, torch.zeros(5, dtype=torch.int64)), pixels)


def test_a_constant_rate() -> None:
    factor = rate(RULE, 10, 100)
    assert [factor(step) for step in (0, 1, 50, 99)] == [1.0] * 4


def test_a_triangular_rate_rises_to_its_peak_and_falls_to_the_end() -> None:
    factor = rate(rule(schedule="triangular", peak_epoch=5), 4, 50)
    assert (factor(0), factor(20), factor(50)) == (0.0, 1.0, 0.0)
    assert factor(10) == pytest.approx(0.5)
    assert factor(35) == pytest.approx(0.5)
    values = [factor(step) for step in range(51)]
    slopes = torch.tensor(values).double().diff()
    torch.testing.assert_close(slopes[:20], torch.full((20,), 1 / 20, dtype=torch.float64), atol=1e-6, rtol=0)
    torch.testing.assert_close(
        slopes[20:], torch.full((30,), -1 / 30, dtype=torch.float64), atol=1e-6, rtol=0
    )


@pytest.mark.parametrize("steps", [8, 12, 20])
def test_a_run_that_ends_before_its_peak_only_rises(steps: int) -> None:
    factor = rate(rule(schedule="triangular", peak_epoch=5), 4, steps)
    values = [factor(step) for step in range(steps)]
    assert values == [step / steps for step in range(steps)]


@pytest.mark.parametrize("peak", [0.5, 1.25])
def test_a_peak_within_an_epoch(peak: float) -> None:
    factor = rate(rule(schedule="triangular", peak_epoch=peak), 4, 20)
    assert factor(int(4 * peak)) == 1.0
    assert max(factor(step) for step in range(21)) == 1.0
