"""Pieces of the language model's figures: ticks, cut-off notes, names at the ends of curves, stores of checkpoints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.figure import Figure

from explaind.errors import DataError
from explaind.figures import fig06, heads, pretraining, style, terms
from explaind.store import read_dataset, write_dataset
from explaind.studies import updates
from tests.studies.made_updates import series, write_updates

CONFIG = {"figure": {"dpi": 40}, "data": {"languages": ["eng", "deu"]}}


@pytest.mark.parametrize(
    ("largest", "smallest", "expected"),
    [
        (0.5, 0.02, [-0.1, 0, 0.1]),
        (20.0, 0.1, [-10, -1, -0.1, 0, 0.1, 1, 10]),
        (1e3, 0.1, [-1e3, -10, -0.1, 0, 0.1, 10, 1e3]),
    ],
)
def test_decades(largest: float, smallest: float, expected: list[float]) -> None:
    assert style.decades(largest, smallest) == pytest.approx(expected)


def test_the_axis_fits_later_values_and_says_what_is_cut() -> None:
    axes, steps = Figure().subplots(), np.array([1, 50, 100])
    style.fit_after(axes, steps, np.array([[-9.0, 1.0, 2.0]]), 0.1)
    assert axes.get_ylim() == pytest.approx((0.95, 2.05))
    assert [text.get_text() for text in axes.texts] == ["step 1: -9"]
    whole = Figure().subplots()
    style.fit_after(whole, steps, np.array([[1.5, 1.0, 2.0]]), 0.1)
    assert not whole.texts


def test_names_that_would_overlap_share_a_line() -> None:
    axes = Figure().subplots()
    rows = [(step, name, loss) for name, loss in (("a", 1.0), ("b", 1.01), ("c", 9.0)) for step in (0, 5)]
    pretraining._unseen(axes, pd.DataFrame(rows, columns=["step", "language", "loss"]))
    assert [text.get_text() for text in axes.texts] == ["a b", "c"]
    assert axes.lines[0].get_label() == "not trained on"


def test_figures_of_many_layers_have_a_colour_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = write_updates(tmp_path / "u.zarr", series(mlp1=[-3, -2, -1, -1], attention=[-1, -2, -3, -4]))
    for limit in (8, 1):
        monkeypatch.setattr(terms, "LEGEND", limit)
        fig06.draw(CONFIG, updates=store, stem=tmp_path / f"fig06_{limit}")
    heads.draw(CONFIG, updates=store, stem=tmp_path / "heads")
    sizes = {path.name: path.stat().st_size for path in tmp_path.glob("*.png")}
    assert (
        set(sizes) == {"fig06_8.png", "fig06_1.png", "heads.png"}
        and sizes["fig06_8.png"] != sizes["fig06_1.png"]
    )


def test_checkpoints_out_of_order_are_refused(tmp_path: Path) -> None:
    def write(name: str, step: int) -> Path:
        attrs = {"checkpoint": name, "step": step, "lr": 0.1, "tolerance": 1e-3, "notes": ""}
        data = xr.Dataset({"change": -1.0, "node": ("place", [0.5])}, attrs=attrs)
        write_dataset(data, tmp_path / f"{name}.zarr", kind="update")
        return tmp_path / f"{name}.zarr"

    first, second = write("a", 10), write("b", 20)
    updates.write(updates=[first, second], output=tmp_path / "all.zarr")
    together = read_dataset(tmp_path / "all.zarr", kind="updates")
    assert together["step"].values.tolist() == [10, 20] and "node" not in together
    with pytest.raises(DataError, match="not in the order of training.*b: 20, a: 10"):
        updates.write(updates=[second, first], output=tmp_path / "other.zarr")
