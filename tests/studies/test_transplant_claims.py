"""Verdicts on moved layers, on tables in which each claim holds, holds in part, or does not."""

from __future__ import annotations

import pandas as pd
import pytest

from explaind.studies import swap_claims, transplant_claims
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED
from explaind.studies.generalization import COLUMNS

NEVER = pd.NA
METRICS = pd.DataFrame({"train_accuracy": [0.0, 0.9, 1.0], "test_accuracy": [0.0, 0.1, 1.0]})


def networks(**generalized: list) -> pd.DataFrame:
    """`name=[update or NEVER per seed]` at the last checkpoint, `name_early=…` at an earlier one."""
    rows = []
    for name, updates in generalized.items():
        combination, early = name.removesuffix("_early"), name.endswith("_early")
        for seed, update in enumerate(updates):
            test, gap = (0.5, 0.7) if update is NEVER else (0.99, 0.2)
            place = ("middle", 50) if early else ("final", 90)
            rows.append((combination, *place, seed, NEVER, update, 300, 1.0, test, gap))
    table = pd.DataFrame(rows, columns=COLUMNS)
    return table.astype({"memorized_at": "Int64", "generalized_at": "Int64"})


@pytest.mark.parametrize(
    ("updates", "expected", "says"),
    [
        ([60, 80, 200], REPRODUCED, "3 of 3 seeds generalise after 80 updates (60 to 200)"),
        ([60, 80, 205], PARTLY, "3 of 3"),
        ([300, NEVER, NEVER], NOT_REPRODUCED, "1 of 3 seeds generalise after 300"),
        (
            [NEVER, NEVER],
            NOT_REPRODUCED,
            "0 of 2 seeds generalise; after 300 updates train 100.0%, test 50.0%",
        ),
    ],
)
def test_generalises_soon(updates: list, expected: str, says: str) -> None:
    table = networks(inner=updates, inner_early=[1, 1, 1], other=[5])
    finding = transplant_claims.generalises_soon(table, "inner", "layers", "3b")
    assert finding.verdict == expected and says in finding.measured


def test_the_control() -> None:
    for updates, expected in (([NEVER, NEVER], REPRODUCED), ([NEVER, 9], PARTLY), ([9, 9], NOT_REPRODUCED)):
        assert transplant_claims.control_does_not_generalise(networks(nothing=updates)).verdict == expected


def test_bypassing_memorisation_needs_generalisation_and_a_small_gap() -> None:
    for updates, expected in (([9, 9], REPRODUCED), ([9, NEVER], PARTLY), ([NEVER, NEVER], NOT_REPRODUCED)):
        finding = transplant_claims.bypasses_memorisation(networks(inner=updates), METRICS, "inner", "layers")
        assert finding.verdict == expected and "80.0% in the run" in finding.measured
    wide = networks(inner=[9, 9]).assign(largest_gap=0.41)
    assert transplant_claims.bypasses_memorisation(wide, METRICS, "inner", "layers").verdict == NOT_REPRODUCED


@pytest.mark.parametrize(
    ("early", "accuracies", "expected"),
    [
        ([9, 200], (0.95, 0.97), REPRODUCED),
        ([9, 200], (0.98, 0.97), PARTLY),
        ([9, 201], (0.95, 0.97), PARTLY),
        ([NEVER, 201], (0.5, 0.97), NOT_REPRODUCED),
    ],
)
def test_earlier_checkpoints(early: list, accuracies: tuple[float, float], expected: str) -> None:
    table = networks(inner_early=early, inner=[5, 5])
    rows = [
        ("inner", step, seed, update, accuracy + (0.0 if update == 300 else 0.02 * (step == 50)))
        for step, accuracy in zip((50, 90), accuracies, strict=True)
        for seed in (0, 1)
        for update in (300, 305)
    ]
    curves = pd.DataFrame(rows, columns=["combination", "checkpoint_step", "seed", "update", "test_accuracy"])
    finding = transplant_claims.earlier_checkpoints(table, curves, "inner", "layers")
    assert finding.verdict == expected
    assert f"{accuracies[0]:.2%}" in finding.measured and "after 300 updates" in finding.measured


@pytest.mark.parametrize(
    ("inner", "outer", "expected"),
    [
        ([50, 60], [NEVER, 20], REPRODUCED),
        ([50, 60], [70, 80], REPRODUCED),
        ([70, 80], [50, 60], PARTLY),
        ([NEVER, 10], [50, 60], NOT_REPRODUCED),
        ([NEVER, NEVER], [NEVER, NEVER], NOT_REPRODUCED),
    ],
)
def test_which_layers(inner: list, outer: list, expected: str) -> None:
    finding = transplant_claims.which_layers(networks(attention_linear1=inner, outer=outer))
    assert finding.verdict == expected


def swaps(outer: list[float], other: list[float]) -> pd.DataFrame:
    """Changes whose intervals are ± 0.05."""
    rows = [
        (step, name, value, value - 0.05, value + 0.05)
        for name, values in (("outer", outer), ("other", other))
        for step, value in enumerate(values)
    ]
    return pd.DataFrame(rows, columns=["step", "combination", "difference", "low", "high"])


@pytest.mark.parametrize(
    ("outer", "improve"),
    [
        ([0.1, 0.2, 0.0], REPRODUCED),
        ([0.1, 0.1, -0.1], PARTLY),
        ([0.1, -0.2, -0.1], NOT_REPRODUCED),
        ([0.0], NOT_REPRODUCED),
    ],
)
def test_swaps_improve_or_not(outer: list[float], improve: str) -> None:
    table = swaps(outer, [-value for value in outer])
    assert swap_claims.outer_layers_improve(table, "outer", {"generalization_step": 1}).verdict == improve
    assert swap_claims.others_decrease(table, "outer").verdict == improve


def measures(*changes: tuple[float, float]) -> pd.DataFrame:
    """Upper ends of the changes of cyclic errors, and of their share of the errors, per checkpoint."""
    rows = []
    for place, (amount, share) in enumerate(changes):
        for measure, high in (("errors", -0.1), ("cyclic errors", amount), ("cyclic share", share)):
            rows.append((f"c{place}", place, measure, 9, 0.5, 0.3, -0.2, -0.3, high))
    names = ["checkpoint", "step", "measure", "frequency", "original", "swapped", "change", "low", "high"]
    return pd.DataFrame(rows, columns=names)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (((-0.1, -0.1), (-0.1, -0.1)), REPRODUCED),
        (((-0.1, -0.1), (-0.1, 0.1)), PARTLY),
        (((-0.1, 0.1), (0.1, -0.1)), PARTLY),
        (((0.1, -0.1), (0.1, -0.1)), NOT_REPRODUCED),
    ],
)
def test_cyclic_errors_shrink(changes: tuple, expected: str) -> None:
    finding = swap_claims.cyclic_errors_shrink(measures(*changes))
    assert finding.verdict == expected and "errors 50.0% to 30.0%" in finding.measured
