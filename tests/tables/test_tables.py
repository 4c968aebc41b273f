"""Tables from synthetic stage outputs: every number that was planted comes out."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from explaind.studies import fidelity as fidelity_study
from explaind.studies.agreement import fidelity
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED
from explaind.tables import certificate, findings, lasso, seeds, table01_fidelity


def test_fidelity_of_known_distributions():
    final = np.log(np.array([[0.7, 0.2, 0.1], [0.1, 0.8, 0.1]]))
    same = fidelity(final + 0.5, final)  # normalisation removes a common shift
    assert (
        same["agreement"] == 1
        and same["kl"] == pytest.approx(0, abs=1e-15)
        and same["max_error"] == pytest.approx(0.5)
    )
    other = fidelity(np.log(np.array([[0.2, 0.7, 0.1], [0.1, 0.8, 0.1]])), final)
    assert other["agreement"] == 0.5
    assert other["kl"] == pytest.approx((0.7 * np.log(3.5) + 0.2 * np.log(2 / 7)) / 2)


def test_table01(results, tmp_path):
    part = tmp_path / "part.csv"
    stores = {"quadratures": results.quadratures, "influence": results.influence}
    fidelity_study.write(results.config, **stores, output=part)
    table01_fidelity.write(fidelities=[part, part], output=tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv")
    assert len(table) == 6, "the rows of two experiments"
    table = table.iloc[:3]
    assert table.nodes.tolist() == ["10", "100", "adaptive"]
    assert (table.agreement == 1).all() and table.kl[1] < table.kl[0]
    assert table.mean_nodes.tolist() == pytest.approx([10, 100, 1.7])
    assert table.max_error[2] == pytest.approx(0.08, rel=0.3) and (table.tests == 60).all()


def test_certificate(results, tmp_path):
    certificate.write(certificates=[results.certificate], output=tmp_path / "c.csv")
    (row,) = pd.read_csv(tmp_path / "c.csv").itertuples()
    assert (
        row.passed and row.steps == 400 and 1e-7 < row.max_replay_relative < 2e-7 and row.clipped_steps == 0
    )


def test_lasso_finds_the_planted_period(results, tmp_path):
    lasso.write(periodicity=results.periodicity, output=tmp_path / "l.csv")
    table = pd.read_csv(tmp_path / "l.csv")
    assert (table.kind[0], table.period[0]) == ("cos", 23)
    assert table.coefficient.abs().is_monotonic_decreasing
    assert table.set_index(["kind", "period"]).paper["cos", 13] == lasso.PAPER[13]


def test_structure_finds_the_planted_cycles(results):
    table = pd.read_csv(results.structure)
    assert len(table) == 2 * 6 * 4
    for kind in ("kernel", "similarity"):
        rows = table[(table.kind == kind) & (table.layer == "decoder")]
        assert rows.window.tolist() == ["early", "onset", "middle", "late"]
        assert rows.frequency.tolist()[1:] == [7, 5, 1]
        assert rows.cycle_share.iloc[0] < 0.05 < 0.3 < rows.cycle_share.iloc[1]


def write_findings(results, folder, *, runs=None):
    outputs = {name: folder / f"{name}.csv" for name in ("output", "each")}
    findings.write(runs=runs or results.runs, **outputs)
    return (pd.read_csv(path).set_index("claim") for path in outputs.values())


def test_planted_findings_are_reproduced(results, tmp_path):
    whole, each = write_findings(results, tmp_path)
    assert len(whole) == 19 and (whole.verdict == REPRODUCED).all(), whole[whole.verdict != REPRODUCED]
    assert (whole.runs == 3).all() and (whole.reproduced == 3).all()
    assert len(each) == 57 and sorted(set(each.seed)) == [3, 4, 5] and (each.verdict == REPRODUCED).all()


def test_findings_can_fail(results, tmp_path):
    """One of three runs shows none of it: the whole is partly reproduced. With two of them it is not."""
    failed = tmp_path / "runs" / "addition" / "6"
    failed.mkdir(parents=True)
    for path in results.runs[0].iterdir():
        (failed / path.name).symlink_to(path)
    changed = {
        "phases.json": json.loads(results.phases.read_text())
        | {"memorization_step": None, "generalization_step": None},
        "summary.json": {"identical_to_unrecorded": False},
    }
    for name, content in changed.items():
        (failed / name).unlink()
        (failed / name).write_text(json.dumps(content))
    table = pd.read_csv(results.structure)
    table = table.assign(cycle_share=0.01, band_share=0.01, frequency=4, mean_frequency=4.0)
    (failed / "structure.csv").unlink()
    table.to_csv(failed / "structure.csv")
    expected = (
        "memorises first",
        "Vertical bands",
        "appear in the kernel",
        "cycles move from high to low",
        "higher layers",
        "does not change",
    )
    whole, each = write_findings(results, tmp_path, runs=[*results.runs[:2], failed])
    wrong = each[each.verdict == NOT_REPRODUCED]
    assert len(wrong) == 6 and all(any(words in claim for claim in wrong.index) for words in expected)
    assert (wrong.seed == 6).all()
    rows = whole.loc[wrong.index]
    assert (rows.reproduced == 2).all() and (rows.verdict == PARTLY).all()
    assert rows.low.between(0.2, 0.3).all() and rows.high.between(0.9, 1).all(), "Wilson's interval of 2 of 3"
    whole, _ = write_findings(results, tmp_path, runs=[results.runs[0], failed, failed])
    assert (whole.loc[wrong.index].verdict == NOT_REPRODUCED).all()


def test_seeds(tmp_path):
    summaries, metrics = [], []
    for seed in (4, 2):
        run = dict.fromkeys(seeds.COLUMNS, 1.0) | {
            "seed": seed,
            "stop_step": 9 if seed == 2 else None,
            "reached": seed == 2,
        }
        run |= {"memorization_step": 3, "generalization_step": None}
        run.pop("selected")
        summaries.append(tmp_path / f"{seed}.json")
        summaries[-1].write_text(json.dumps(run))
        metrics.append(tmp_path / f"{seed}.csv")
        pd.DataFrame({c: [0, 1] for c in seeds.CURVES if c != "seed"}).to_csv(metrics[-1], index=False)
    (tmp_path / "selection.json").write_text('{"seed": 2}')
    paths = {"output": tmp_path / "seeds.csv", "curves": tmp_path / "curves.csv"}
    seeds.write(summaries=summaries, metrics=metrics, selection=tmp_path / "selection.json", **paths)
    table = pd.read_csv(paths["output"])
    assert table.seed.tolist() == [4, 2] and table.selected.tolist() == [False, True]
    assert table.stop_step.isna().tolist() == [True, False]
    assert "3,," in paths["output"].read_text(), "whole steps stay whole, missing ones empty"
    curves = pd.read_csv(paths["curves"])
    assert curves.seed.tolist() == [4, 4, 2, 2]
