"""Figures 3b, 10, 11 and the swap curve from made tables: whole files, the right means, and matrices by definition."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.axes import Axes
from sklearn.metrics import confusion_matrix

from explaind.figures import fig03b, fig10, fig11, swap_curve
from explaind.store import write_dataset
from explaind.studies import swap, transplant
from explaind.tables import swap_errors

LAYERS = {"nothing": [], "inner": ["att. decoder"], "outer": ["embedding", "linear 2", "decoder"]}
CONFIG = {
    "data": {"modulus": 7},
    "study": {
        "transplant": {"layers": LAYERS, "shown": ["inner", "outer"]},
        "swap": {"combination": "outer", "resamples": 20, "seed": 0},
    },
    "figure": {"dpi": 40},
}
PLACES = [("nothing", "final", 90), ("inner", "final", 90), ("outer", "middle", 50), ("outer", "final", 90)]


def accuracy(combination: str, step: int, seed: int, update: int) -> float:
    speed = {"nothing": 0, "inner": 1, "outer": 4}[combination]
    return min(1.0, 0.01 + speed * update * (step + seed) / 9000)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> SimpleNamespace:
    folder = tmp_path_factory.mktemp("made")
    rows = [
        (*place, seed, update, 1.0, right := accuracy(place[0], place[2], seed, update), 1.0, right / 2)
        for place in PLACES
        for seed in (1, 2, 9)
        for update in range(0, 60 if place[0] == "outer" else 100, 5)
    ]  # fmt: skip
    pd.DataFrame(rows, columns=transplant.COLUMNS).to_csv(folder / "curves.csv", index=False)
    generator = np.random.default_rng(0)
    labels = generator.integers(7, size=60)
    predicted = (labels + generator.integers(3, size=(3, 4, 60))).astype(
        np.int16
    ) % 9  # 7 and 8 are no labels
    result = xr.Dataset(
        {"predicted": (("combination", "step", "test"), predicted), "labels": ("test", labels)},
        coords={
            "combination": ["original", "inner", "outer"],
            "step": [0, 10, 20, 30],
            "test": np.arange(60),
        },
        attrs={"shown": {"middle": 10, "20": 20}},
    )
    write_dataset(result, folder / "swap.zarr", kind="swap")
    swap.accuracies(result, 20, 0).to_csv(folder / "swap.csv", index=False)
    swap_errors.write(CONFIG, swap=folder / "swap.zarr", output=folder / "e.csv", cyclic=folder / "c.csv")
    (folder / "phases.json").write_text(json.dumps({"memorization_step": 12, "generalization_step": None}))
    inputs = {
        fig03b: {"curves": folder / "curves.csv"},
        fig11: {"curves": folder / "curves.csv"},
        swap_curve: {"curves": folder / "swap.csv", "phases": folder / "phases.json"},
        fig10: {"swap": folder / "swap.zarr", "errors": folder / "e.csv"},
    }
    return SimpleNamespace(inputs=inputs, result=result)


@pytest.mark.parametrize("module", [fig03b, fig10, fig11, swap_curve])
def test_a_figure_is_whole_and_the_same_twice(made: SimpleNamespace, tmp_path: Path, module) -> None:
    for stem in ("one", "two"):
        module.draw(CONFIG, **made.inputs[module], stem=tmp_path / stem)
    assert {path.name for path in tmp_path.iterdir()} == {"one.pdf", "one.png", "two.pdf", "two.png"}
    for suffix in (".pdf", ".png"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


@pytest.mark.parametrize("module", [fig03b, fig11])
def test_thick_lines_are_means_over_seeds(
    made: SimpleNamespace, tmp_path: Path, module, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[tuple] = []
    plot = Axes.plot

    def watch(axes: Axes, *arguments, **options):
        drawn.append(
            (np.asarray(arguments[0]), np.asarray(arguments[1], dtype=float)) if len(arguments) > 1 else ()
        )
        return plot(axes, *arguments, **options)

    monkeypatch.setattr(Axes, "plot", watch)
    module.draw(CONFIG, **made.inputs[module], stem=tmp_path / "f")
    updates = np.arange(0, 60, 5)
    for step in (90, 50)[: 1 if module is fig03b else 2]:
        mean = np.mean(
            [[accuracy("outer", step, seed, u) / 2 for u in updates] for seed in (1, 2, 9)], axis=0
        )
        assert any(len(one[0]) == 12 and np.allclose(one[1], mean) for one in drawn if one)
    if module is fig03b:
        other = np.mean([[accuracy("outer", 50, seed, u) / 2 for u in updates] for seed in (1, 2, 9)], axis=0)
        assert not any(len(one[0]) == 12 and np.allclose(one[1], other) for one in drawn), (
            "the last checkpoint alone"
        )


def test_a_confusion_matrix_by_definition(made: SimpleNamespace) -> None:
    labels = made.result["labels"].values
    predicted = made.result["predicted"].sel(combination="outer", step=20).values
    assert (predicted >= 7).any()
    expected = confusion_matrix(labels, predicted, labels=range(9), normalize="true")[:7, :7]
    np.testing.assert_allclose(fig10.confusion(predicted, labels, 7), expected)
    assert fig10.confusion(np.array([1]), np.array([2]), 7).sum(1).tolist() == [0, 0, 1, 0, 0, 0, 0]
