"""Views, tables and findings of explained updates, on numbers that can be worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from explaind.studies import components, languages, pretraining
from explaind.studies.finding import NOT_REPRODUCED, PARTLY, REPRODUCED
from explaind.tables import extrapolation, reconstruction, subsampling, text
from tests.studies.made_updates import (
    STEPS,
    UNITS,
    scores,
    series,
    term_scores,
    write_interval,
    write_updates,
)

# Units: in0, q1 head 0, q1 head 1, v1, mlp1, q2 head 0, q2 head 1, v2, mlp2, out3.
ONE = np.arange(1.0, UNITS.size + 1)
NAMES = [f"step-{step}" for step in STEPS]


def test_views_are_sums() -> None:
    array = scores(ONE)
    kinds = components.by_component(array)
    assert kinds["component"].values.tolist() == ["input embedding", "attention", "MLP", "output embedding"]
    assert kinds.values.tolist() == [1, 2 + 3 + 4 + 6 + 7 + 8, 5 + 9, 10]
    assert components.by_depth(array).values.tolist() == [1, 2 + 3 + 4 + 5, 6 + 7 + 8 + 9, 10]
    assert components.by_cell(array)["cell"].values.tolist()[1:3] == ["attention 1", "MLP 1"]
    assert components.by_head(array, ("q_proj",)).values.tolist() == [[2, 3], [6, 7]]
    assert components.by_head(array, ("k_proj", "v_proj")).values.tolist() == [[4], [8]]


def test_reconstruction_table(tmp_path: Path) -> None:
    array = series(attention=[-1, -2, -3, -4], momentum__mlp1=[-1, -1, -1, -1])
    reconstruction.write(updates=write_updates(tmp_path / "u.zarr", array), output=tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv")
    assert table.step.tolist() == list(STEPS) and table.batch.tolist() == [-1, -2, -3, -4]
    np.testing.assert_allclose(table.relative_error, 0.0005, rtol=1e-9)
    np.testing.assert_allclose(table.error_1, abs(1.1 * 0.9995 - 1), rtol=1e-9)
    np.testing.assert_allclose(table.change, table.reconstruction + table.residual, rtol=1e-12)
    assert pretraining.reconstruction(table, 1e-3).verdict == PARTLY, (
        "half a thousandth is not the paper's order"
    )
    exact = table.assign(residual=table.residual / 10)
    assert pretraining.reconstruction(exact, 1e-3).verdict == REPRODUCED
    assert pretraining.reconstruction(exact, 1e-4).verdict == PARTLY, "no checkpoint is within this tolerance"
    assert pretraining.reconstruction(exact.assign(error_1=0.0), 1e-3).verdict == PARTLY
    assert pretraining.reconstruction(table.assign(residual=1.0), 1e-3).verdict == NOT_REPRODUCED


def test_subsampling_compares_sums_with_multiples(tmp_path: Path) -> None:
    single = write_updates(
        tmp_path / "u.zarr", series(attention=[-1, -1, -1, -1], mlp1=[-3, 0, 0, 0], mlp2=[1, 0, 0, 0])
    )
    batch = np.zeros((2, UNITS.size))
    batch[:, 1], batch[:, 4], batch[:, 8] = (
        [-2, -2],
        [-1, -1],
        [-1, -1],
    )  # attention, MLP 1, MLP 2: another sign, another strongest
    full = term_scores(batch, 0 * batch, 0 * batch, [10, 11], "update")
    interval = write_interval(tmp_path / "i.zarr", full, 0 * batch, [1.0, 1.0], NAMES[0])
    subsampling.write(updates=single, intervals=[interval], output=tmp_path / "t.csv")
    row = pd.read_csv(tmp_path / "t.csv").set_index("term").loc["batch"]
    assert (row.start, row.stop, row.full, row.subsampled) == (10, 12, -8, -6)
    a, b = np.array([-4.0, -2, -2]), np.array([-2.0, -6, 2])
    assert row.cosine == pytest.approx(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    assert row.same_sign == pytest.approx(1 - 1 / 6)  # of six components at their depths only MLP 2 differs
    assert (row.strongest_full, row.strongest_subsampled) == ("attention", "MLP")
    assert row.change == pytest.approx(-8.08) and row.residual == pytest.approx(-0.08)


def test_extrapolation_uses_the_geometric_sum(tmp_path: Path) -> None:
    batch = np.zeros((3, UNITS.size))
    batch[0, 1], batch[0, 4] = -8, -2
    later = np.zeros_like(batch)
    later[1:, 1], later[1, 4] = [-4, -2], -2  # attention exactly as extrapolated, the MLP not
    full = term_scores(batch, 0 * batch, 0 * batch, [1, 2, 3], "update")
    store = write_interval(tmp_path / "i.zarr", full, later, [1.0, 1.0, 0.5], NAMES[0])
    extrapolation.write(intervals=[store], output=tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv").set_index("component")
    assert table.loc["attention", "extrapolated"] == -8 * (0.5 + 0.25) == table.loc["attention", "measured"]
    assert table.loc["attention", "error"] == 0 and table.loc["MLP", "error"] == pytest.approx(0.25)
    assert (table.loc["all", "measured"], table.loc["all", "later"]) == (-8, 2)
    one, two, three = (1 - 0.5**t for t in (2, 3, 4))  # bias corrections of updates 1, 2, 3
    assert table.loc["MLP", "adjusted"] == pytest.approx(-2 * (0.5 * one / two + 0.25 * 0.5 * one / three))
    assert np.isnan(table.loc["input embedding", "error"])


def test_text_table_states_the_mix(tmp_path: Path) -> None:
    rows = [("eng", "train", 90), ("deu", "train", 10), ("eng", "heldout", 3)]
    pd.DataFrame(rows, columns=["language", "part", "sequences"]).to_csv(tmp_path / "l.csv", index=False)
    losses = [
        (0, "heldout", "eng", 9.0),
        (4, "train", "eng", 6.0),
        (8, "train", "eng", 5.0),
        (8, "heldout", "eng", 4.0),
    ]
    pd.DataFrame(losses, columns=["step", "part", "language", "loss"]).to_csv(tmp_path / "x.csv", index=False)
    config = {"train": {"batch": 6, "mix": 0.5}}
    text.write(config, languages=tmp_path / "l.csv", losses=tmp_path / "x.csv", output=tmp_path / "t.csv")
    table = pd.read_csv(tmp_path / "t.csv")
    assert table.per_batch.tolist() == [4, 2, 0]  # one each, and four more in the ratio 3 : 1
    assert table.first_loss.tolist()[::2] == [6, 9] and table.last_loss.tolist()[::2] == [5, 4]
    assert np.isnan(table.first_loss[1])
    text.write(config, languages=tmp_path / "l.csv", losses=None, output=tmp_path / "t.csv")
    assert pd.read_csv(tmp_path / "t.csv").last_loss.isna().all()


def test_losses_fall() -> None:
    rows = [
        (0, "heldout", "eng", 9.0),
        (8, "heldout", "eng", 7.0),
        (0, "heldout", "est", 9.0),
        (8, "heldout", "est", 9.5),
    ]
    rows += [(4, "train", "eng", 8.0), (8, "train", "eng", 6.0)]
    losses = pd.DataFrame(rows, columns=["step", "part", "language", "loss"])
    found = pretraining.loss_falls(losses, {"eng"})
    assert found.verdict == REPRODUCED and "not trained on: -6 to -6 %" in found.measured
    assert pretraining.loss_falls(losses, {"eng", "est"}).verdict == NOT_REPRODUCED


def test_languages_are_ranked_per_sequence() -> None:
    batch = np.zeros((2, 3, 1))
    batch[:, :, 0] = [[-4, -1, -1], [-3, -2, -9]]  # of two sequences of a, and one of b
    found = xr.Dataset(
        {
            "batch": (("train_language", "heldout_language", "component"), batch),
            "per_batch": ("train_language", [2, 1]),
        },
        coords={"train_language": ["a", "b"], "heldout_language": ["a", "b", "c"]},
    )
    assert languages.per_sequence(found).tolist() == [[-2, -0.5, -0.5], [-3, -2, -9]]
    assert languages.own_rank(found) == {"a": 1, "b": 0}
    assert pretraining.languages_help_themselves([found]).verdict == PARTLY
