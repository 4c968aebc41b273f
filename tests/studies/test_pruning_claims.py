"""Verdicts on figure 2, from tables in which the answer is known; means and intervals over splits."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from explaind.studies import pruning_claims as claims
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED
from explaind.tables import findings_pruning, pruning_methods
from tests.tables.made_tables import write_pruned

SHARES = (0.05, 0.2, 0.6)


def made(**values: dict[str, tuple[float, ...]]) -> pd.DataFrame:
    """Three splits; method or method_initial → measure → a value for each of `SHARES`; splits differ a little."""
    rows = []
    for name, measures in values.items():
        method, _, rest = name.partition("__")
        for number, fraction in enumerate(SHARES):
            for split in range(3):
                row = {"accuracy": 0.8, "agreement": 0.8, "kl": 0.5}
                row |= {measure: series[number] for measure, series in measures.items()}
                row["kl"] += 1e-3 * split + (1e-5 * split if method == "explaind" else 0)
                row |= {"method": method, "rest": rest or "zero", "fraction": fraction, "split": split}
                rows.append(row | {"kept": fraction, "original": 0.85})
    return pd.DataFrame(rows)


def test_the_interval_is_the_t_tests() -> None:
    values = np.array([0.1, 0.4, 0.35, 0.2, 0.3])
    mean, low, high = claims.interval(values)
    expected = scipy.stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert mean == pytest.approx(values.mean())
    assert (low, high) == pytest.approx((expected.low, expected.high))


def test_differences_are_paired_over_splits() -> None:
    table = made(explaind={"kl": (0.1, 0.1, 0.1)}, random={"kl": (0.4, 0.3, 0.1)})
    found = claims.paired(table, "explaind", "random", "kl")
    assert found.index.tolist() == list(SHARES)
    assert found["mean"].tolist() == pytest.approx([-0.3, -0.2, 1e-5], abs=2e-5)
    assert ((found.high - found.low) < 1e-4).all(), "splits differ alike in both"
    assert found["first"].tolist() == pytest.approx([0.101] * 3, abs=1e-4)


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        ((0.0, 0.8, 0.8), REPRODUCED),
        ((0.9, 0.5, 0.8), PARTLY),
        ((0.9, 0.5, 0.5), NOT_REPRODUCED),
    ],
)
def test_competitive(accuracy: tuple[float, ...], expected: str) -> None:
    table = made(explaind={"accuracy": accuracy}, filters={"accuracy": (0.9, 0.84, 0.84)})
    assert claims.competitive(table).verdict == expected


@pytest.mark.parametrize(
    ("kl", "expected"),
    [
        ((0.1, 0.1, 0.1), REPRODUCED),
        ((0.1, 0.1, 0.4), PARTLY),
        ((0.6, 0.1, 0.1), PARTLY),
        ((0.6, 0.6, 0.1), NOT_REPRODUCED),
    ],
)
def test_closer(kl: tuple[float, ...], expected: str) -> None:
    assert claims.closer_than_filters(made(explaind={"kl": kl}, filters={})).verdict == expected
    more = claims.closer_than_magnitude(made(explaind={"kl": kl}, magnitude={}))
    assert more.verdict == (REPRODUCED if kl == (0.1, 0.1, 0.4) else expected), "the factor is of the filters"


def test_what_is_reset_is_compared_with_what_is_reset() -> None:
    table = made(
        explaind={}, explaind__initial={"kl": (0.1,) * 3}, change={"kl": (0.0,) * 3}, change__initial={}
    )
    assert claims.closer_than_change(table).verdict == REPRODUCED


def test_filters_without_retraining_are_named_where_they_were_run() -> None:
    values = {"explaind": {"accuracy": (0.8, 0.8, 0.8)}, "filters": {}}
    alone = claims.competitive(made(**values, filters_unretrained={"accuracy": (0.1, 0.1, 0.8)}))
    assert alone.measured.endswith("not retrained are behind importance at 1 of 2")
    assert "not retrained" not in claims.competitive(made(**values)).measured


def test_better_than_random() -> None:
    for agreement, expected in (
        ((0.9, 0.9, 0.9), REPRODUCED),
        ((0.7, 0.9, 0.9), PARTLY),
        ((0.7, 0.7, 0.9), NOT_REPRODUCED),
        ((0.8, 0.8, 0.8), NOT_REPRODUCED),
    ):
        table = made(explaind={"agreement": agreement}, random={})
        assert claims.better_than_random(table).verdict == expected


def test_importance_of_changes() -> None:
    def verdict(zero: tuple[float, ...], initial: tuple[float, ...]) -> str:
        return claims.about_changes(
            made(
                explaind={"kl": zero},
                explaind__initial={"kl": initial},
                gradient_weight={},
                gradient_weight__initial={},
            )
        ).verdict

    assert verdict((0.9, 0.9, 0.9), (0.1, 0.1, 0.1)) == REPRODUCED
    assert verdict((0.9, 0.9, 0.1), (0.9, 0.1, 0.1)) == PARTLY
    assert verdict((0.1, 0.9, 0.9), (0.1, 0.9, 0.9)) == NOT_REPRODUCED


def test_tables_of_splits(tmp_path: Path) -> None:
    paths = write_pruned(tmp_path)
    pruning_methods.write(pruned=paths, output=tmp_path / "table.csv")
    table = pd.read_csv(tmp_path / "table.csv")
    splits = pruning_methods.read_splits(paths)
    assert set(table.experiment) == {"mnist"} and (table.splits == 3).all()
    for row in table.itertuples():
        same = splits[
            (splits.method == row.method) & (splits.rest == row.rest) & (splits.fraction == row.fraction)
        ]
        for name in pruning_methods.MEASURES:
            expected = scipy.stats.ttest_1samp(same[name], 0).confidence_interval(0.95)
            assert getattr(row, name) == pytest.approx(same[name].mean())
            assert getattr(row, f"{name}_low") == pytest.approx(expected.low)
            assert getattr(row, f"{name}_high") == pytest.approx(expected.high)


def test_claims_about_methods_that_were_not_run_are_left_out(tmp_path: Path) -> None:
    paths = write_pruned(tmp_path)
    findings_pruning.write(pruned=paths, output=tmp_path / "all.csv")
    everything = pd.read_csv(tmp_path / "all.csv")
    assert len(everything) == len(claims.CLAIMS) and set(everything.figure) == {"2, mnist"}
    for path in paths:
        table = pd.read_csv(path)
        table[table.method.isin(["explaind", "magnitude"])].to_csv(path, index=False)
    findings_pruning.write(pruned=paths, output=tmp_path / "few.csv")
    assert pd.read_csv(tmp_path / "few.csv").claim.str.contains("size of a weight").tolist() == [True]
