"""Measured against predicted: correlations, slopes, intervals and verdicts, the table and the figure of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import scipy.stats

from explaind.config import compose
from explaind.config.jobs import JOBS
from explaind.errors import ConfigError
from explaind.figures import interventions
from explaind.studies import intervention, proportionality
from explaind.studies.proportionality import FEW, NO, PREDICTS, RANK, describe
from explaind.tables import findings_proportionality

CONFIG = {"study": {"proportionality": {"seed": 1, "resamples": 200}}, "figure": {"dpi": 60}}


def frame(predicted: np.ndarray, measured: np.ndarray, **names: Any) -> pd.DataFrame:
    """Rows of interventions, the first half of them from one window and the rest from another."""
    half = len(predicted) // 2
    fixed = {
        "experiment": "mnist",
        "intervention": "reset",
        "term": "all",
        "kind": "layer",
        "size": 3,
    } | names
    columns = {"window": ["0_5"] * half + ["late"] * (len(predicted) - half), "start": 0, "stop": 5, **fixed}
    table = pd.DataFrame({**columns, "predicted": predicted, "measured": measured, "local": measured})
    return table.assign(group=[f"group {i}" for i in range(len(table))])[list(intervention.COLUMNS)]


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(0).normal(size=60)


def test_statistics_are_the_librarys(x: np.ndarray) -> None:
    y = 0.7 * x + 0.3 * np.random.default_rng(1).normal(size=60)
    found = describe(frame(x, y), 400, 0)
    assert found["spearman"] == pytest.approx(scipy.stats.spearmanr(x, y).statistic)
    assert found["pearson"] == pytest.approx(scipy.stats.pearsonr(x, y).statistic)
    assert found["slope"] == pytest.approx(np.linalg.lstsq(x[:, None], y, rcond=None)[0][0])
    assert found["local"] == pytest.approx(1)
    each = [scipy.stats.spearmanr(x[part], y[part]).statistic for part in (slice(0, 30), slice(30, 60))]
    assert found["within"] == pytest.approx(np.mean(each))
    for name, statistic in (("pearson", scipy.stats.pearsonr), ("spearman", scipy.stats.spearmanr)):
        interval = scipy.stats.bootstrap(
            (x, y), lambda a, b, f=statistic: f(a, b).statistic, paired=True, vectorized=False,
            method="percentile", n_resamples=400, random_state=1,
        ).confidence_interval  # fmt: skip
        assert found[f"{name}_low"] == pytest.approx(interval.low, abs=0.03)
        assert found[f"{name}_high"] == pytest.approx(interval.high, abs=0.03)
    assert describe(frame(x, y), 400, 0) == found


@pytest.mark.parametrize(
    ("effect", "expected"),
    [
        (lambda x, noise: x + 0.1 * noise, PREDICTS),
        (lambda x, noise: 0.1 * x + 0.01 * noise, RANK),  # a tenth of what was predicted
        (lambda x, noise: 3 * x + 0.1 * noise, RANK),
        (lambda x, noise: x + 2 * noise, RANK),  # too much besides
        (lambda x, noise: noise, NO),
        (lambda x, noise: -x, NO),
    ],
)
def test_verdicts_follow_the_rule(x: np.ndarray, effect: Any, expected: str) -> None:
    y = effect(x, np.random.default_rng(5).normal(size=60))
    assert describe(frame(x, y), 200, 0)["verdict"] == expected


def test_windows_of_different_size_alone_do_not_correlate_within() -> None:
    """Two windows, one with ten times the effects: pooled there is a correlation, in neither window there is."""
    generator = np.random.default_rng(3)
    x = np.concatenate([1 + 0.1 * generator.normal(size=40), 10 + generator.normal(size=40)])
    y = np.concatenate([1 + 0.1 * generator.normal(size=40), 10 + generator.normal(size=40)])
    found = describe(frame(x, y), 100, 0)
    assert found["spearman"] > 0.6 and abs(found["within"]) < 0.3


def test_too_few_interventions_have_no_interval(x: np.ndarray, tmp_path: Path) -> None:
    """Of a kind altogether that is refused; of windows of one length it leaves the verdict open."""
    few, many = frame(x[:4], x[:4]), frame(x, x)
    unchanged = frame(np.zeros(1), np.zeros(1), intervention="none", term="", kind="")
    outputs = {"points": tmp_path / "points.csv", "output": tmp_path / "output.csv"}
    pd.concat([few, unchanged]).to_csv(tmp_path / "few.csv", index=False)
    with pytest.raises(ConfigError, match="too few interventions.*at least 5.*4 of 'reset' on 'layer'"):
        proportionality.write(CONFIG, interventions=[tmp_path / "few.csv"], **outputs)
    pd.concat([many, few.assign(stop=20), unchanged]).to_csv(tmp_path / "both.csv", index=False)
    proportionality.write(CONFIG, interventions=[tmp_path / "both.csv"], **outputs)
    found = pd.read_csv(outputs["output"]).set_index("updates")
    assert found.verdict.to_dict() == {5: PREDICTS, 20: FEW} and np.isnan(found.slope_low[20])
    assert found["count"].to_dict() == {5: 60, 20: 4} and found.spearman[20] == pytest.approx(1)
    interventions.draw(CONFIG, points=outputs["points"], findings=outputs["output"], stem=tmp_path / "f")


def written(folder: Path, x: np.ndarray) -> dict[str, Path]:
    """The study's two files, of made interventions in two windows."""
    noise = np.random.default_rng(2).normal(size=60)
    parts = [
        frame(x, x + 0.1 * noise),
        frame(x, 0.1 * x, kind="neuron"),
        frame(x, noise, intervention="remove, frozen path", term="kernel"),
        frame(x, x, intervention="remove, frozen path", term="regularization"),
        frame(x, noise, intervention="leave out", term="kernel", kind="random samples").assign(local=np.nan),
        frame(np.zeros(1), np.full(1, -1e-6), intervention="none", term="", kind="").assign(
            group="", local=np.nan
        ),
    ]
    table = pd.concat(parts)
    paths = []
    for name, part in table.groupby("window"):
        paths.append(folder / f"{name}.csv")
        part.to_csv(paths[-1], index=False)
    files = {"points": folder / "points.csv", "output": folder / "proportionality.csv"}
    proportionality.write(CONFIG, interventions=paths, **files)
    return {"points": files["points"], "findings": files["output"]}


def test_every_kind_of_intervention_is_a_row(x: np.ndarray, tmp_path: Path) -> None:
    files = written(tmp_path, x)
    found, points = pd.read_csv(files["findings"]), pd.read_csv(files["points"])
    assert tuple(found.columns) == findings_proportionality.COLUMNS == proportionality.COLUMNS
    assert tuple(points.columns) == intervention.COLUMNS and len(points) == 5 * 60 + 1
    verdicts = found.set_index(["intervention", "term", "kind"]).verdict
    assert verdicts["reset", "all", "layer"] == PREDICTS
    assert verdicts["reset", "all", "neuron"] == RANK
    assert verdicts["leave out", "kernel", "random samples"] == NO
    assert (found.noise == 1e-6).all() and (found["count"] == 60).all() and len(found) == 5
    assert found.local.isna().sum() == 1


def test_the_figure_has_a_panel_for_each_kind(x: np.ndarray, tmp_path: Path) -> None:
    interventions.draw(CONFIG, **written(tmp_path, x), stem=tmp_path / "f")
    assert (tmp_path / "f.pdf").read_bytes().startswith(b"%PDF") and (
        tmp_path / "f.png"
    ).stat().st_size > 5000


def test_panels_are_the_kinds_that_there_are() -> None:
    frozen = [("layer", "reset", "all")]
    frozen += [("layer", "remove, frozen path", term) for term in ("kernel", "regularization")]
    again = [("layer", "remove, retrained", term) for term in ("kernel", "regularization")]
    samples = [(f"{which} samples", "leave out", "kernel") for which in ("random", "ranked")]
    assert interventions.places([*frozen, *again, *samples]) == [
        frozen,
        [*again, samples[0]],
        [samples[1], None, None],
    ]
    assert interventions.places([frozen[0], *samples]) == [[frozen[0], None, None], [*samples, None]]


def test_a_language_models_panels_have_a_column_for_each_term() -> None:
    terms = ("all", "batch", "momentum", "regularization")
    update, interval = (
        [(kind, reset if term == "all" else remove, term) for kind in ("component", "head") for term in terms]
        for reset, remove in interventions.PATHS
    )
    again = ("component", "remove, retrained", "all")
    languages = [("language", act, "batch") for act in ("remove, one update", "leave out")]
    missing = ("head", "reset", "all")
    rows = interventions.places([*update, *languages, *(one for one in interval if one != missing), again])
    assert rows == [
        update[:4],
        update[4:],
        interval[:4],
        [None, *interval[5:]],
        [again, *languages, None],
    ]


def test_windows_are_named_or_given_by_position() -> None:
    names = {
        one: [job["window"] for job in JOBS["interventions"](compose(one, "default"))]
        for one in ("grokking", "mnist")
    }
    assert names["grokking"] == ["middle", "late"]
    assert names["mnist"] == ["0_5", "5_10", "10_15", "15_20", "0_20"]


def test_a_window_beyond_the_run_is_refused(tmp_path: Path) -> None:
    class Ended:
        n_steps = 30

    assert intervention._bounds("10_20", None, Ended(), 4) == (10, 14)
    with pytest.raises(ConfigError, match=r"window 20_40.*beyond the run.*\[0, 30\)"):
        intervention._bounds("20_40", None, Ended(), 99)


@pytest.mark.parametrize(
    ("experiment", "override", "says"),
    [
        ("grokking", "study.proportionality.kinds=[layer,depth]", "layer, head, neuron, parameter"),
        ("grokking", "study.proportionality.windows=[nowhere]", "names of windows of study.windows"),
        ("grokking", "study.proportionality.ranges=[[10,61]]", "end by train.max_steps, 60"),
        ("mnist", "study.proportionality.ranges=[]", "at least one window"),
        ("mnist", "study.proportionality.ranges=[[3,3]]", "at least 2 updates"),
        ("mnist", "study.proportionality.resamples=39", "a whole number of at least 40"),
        ("mnist", "study.proportionality.sets=4", "a whole number of at least 5"),
        ("mnist", "study.proportionality.parameters=4", "a whole number of at least 5"),
        ("mnist", "study.proportionality.shares=[1.0]", "above 0 and below 1"),
        ("mnist", "study.proportionality.tests=41", "at most the 40 test samples"),
        ("mnist", "study.proportionality.units=[]", "modules with neurons"),
    ],
)
def test_bad_options_are_refused(experiment: str, override: str, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(experiment, "smoke", [override])
    assert says in str(caught.value)
