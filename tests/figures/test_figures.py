"""Figures from synthetic stage outputs: files are whole and repeatable, matrices are sorted and reduced as stated."""

from __future__ import annotations

import copy
import struct

import numpy as np
import pytest
from matplotlib.figure import Figure

from explaind.errors import DataError
from explaind.experiments.grokking.model import LAYERS
from explaind.figures import (
    fig03a,
    fig03a_outputs,
    fig03a_runs,
    fig04,
    fig04_outputs,
    fig05,
    fig05_outputs,
    fig09,
    fig09_outputs,
    fig12,
    fig12_outputs,
    fig13,
    fig13_outputs,
    frequencies_figure,
    frequencies_runs,
    style,
)  # fmt: skip
from explaind.figures.matrices import Picture, block_mean, load_pictures, scale_ticks, show, signed_log
from explaind.figures.similarities import Cell, draw_cells, load_cells
from explaind.store import read_dataset
from explaind.studies.labels import samples_of

PUBLISHED = (fig03a, fig04, fig05, fig09, fig12, fig13)
DRAWN = (
    *PUBLISHED, fig03a_runs, fig03a_outputs, fig04_outputs, fig05_outputs, fig09_outputs, fig12_outputs, fig13_outputs,
    frequencies_figure, frequencies_runs,
)  # fmt: skip
DRAW = {module.__name__.rpartition(".")[2]: module for module in DRAWN}


def draw(results, name, stem):
    """One figure of the made results; its inputs as it declares them."""
    inputs = {}
    for argument, source in DRAW[name].FIGURE.inputs.items():
        paths = getattr(results, argument)
        inputs[argument] = [paths[window] for window in source[1:]] if isinstance(paths, dict) else paths
    DRAW[name].draw(results.config, **inputs, stem=stem)


@pytest.mark.parametrize("name", DRAW)
def test_a_figure_is_a_whole_pdf_and_png(results, tmp_path, name):
    draw(results, name, tmp_path / f"{name}.v1_slug")  # a dot in the name is no suffix
    files = {path.suffix: path for path in tmp_path.iterdir()}
    assert set(files) == {".pdf", ".png"} and all(path.stem == f"{name}.v1_slug" for path in files.values())
    assert files[".pdf"].read_bytes().startswith(b"%PDF") and b"%%EOF" in files[".pdf"].read_bytes()[-10:]
    width, height = struct.unpack(">II", files[".png"].read_bytes()[16:24])
    assert width >= 7 * 60 and height > 100, "the width of the text at least, at the configured resolution"


def test_the_same_input_gives_the_same_bytes(results, tmp_path):
    for stem in ("one", "two"):
        draw(results, "fig12", tmp_path / stem)
    for suffix in (".pdf", ".png"):
        assert (tmp_path / f"one{suffix}").read_bytes() == (tmp_path / f"two{suffix}").read_bytes()


def test_a_figure_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(ZeroDivisionError), style.new_figure(2, tmp_path / "broken", 60):
        raise ZeroDivisionError
    assert not list(tmp_path.iterdir())


def test_the_six_layers_have_six_colours():
    colours = [style.layer_colour(position) for position in range(len(LAYERS))]
    assert len(set(colours)) == 6 and colours == list(style.LAYER_COLOURS[:6])
    assert style.layer_colour(8) == colours[1], "after the last colour comes the first again"


def test_block_means():
    matrix = np.arange(35.0).reshape(5, 7)
    values, block = block_mean(matrix, 3)
    assert block == (2, 3) and values.shape == (3, 3)
    assert values[0, 0] == matrix[:2, :3].mean() and values[2, 2] == matrix[4:, 6:].mean()
    same, block = block_mean(matrix, 7)
    assert block == (1, 1) and np.array_equal(same, matrix)


def test_pictures_are_sorted_by_the_sum(results):
    (picture,) = load_pictures(
        results.config,
        [results.windows["late"]],
        results.phases,
        kind="kernel",
        layers=["decoder"],
        pixels=1000,
    )["decoder"]
    window = read_dataset(results.windows["late"], kind="window")
    samples = samples_of(window, results.config, results.phases)
    assert (np.diff(picture.row_keys) >= 0).all() and (np.diff(picture.column_keys) >= 0).all()
    rows, columns = (
        np.argsort(samples.test_keys, kind="stable"),
        np.argsort(samples.train_keys, kind="stable"),
    )
    kernel = window["kernel"].sel(layer="decoder").values
    assert picture.values[3, 5] == kernel[rows[3], columns[5]] and picture.window == (300, 320)
    assert (samples.test_keys % 23 == samples.test_labels).all()


def test_cells_are_sorted_by_sum_and_by_label(results):
    (cell,) = load_cells(results.config, [results.windows["late"]], results.phases, layers=["decoder"])[
        "decoder"
    ]
    window = read_dataset(results.windows["late"], kind="window")
    samples = samples_of(window, results.config, results.phases)
    matrix = window["similarity"].sel(layer="decoder").values
    pairs = sorted(zip(samples.test_labels, samples.test_keys, range(len(matrix)), strict=True))
    order = [position for *_, position in pairs]
    by_sum, by_label = cell.pictures
    assert np.array_equal(by_label.values, matrix[order][:, order].astype(float))
    assert (np.diff(by_label.row_keys) >= 0).all() and by_label.row_keys.max() < 23 < by_sum.row_keys.max()
    off = matrix[~np.eye(len(matrix), dtype=bool)]
    assert off.min() <= cell.limits[0] < cell.limits[1] <= off.max()
    assert cell.limits[1] < 1, "the diagonal's ones set no colour"


def test_a_matrix_of_one_value_is_drawn(tmp_path):
    labels = np.arange(9) % 3
    cell = Cell(np.ones((9, 9)), labels, labels, 3, (0, 1))
    draw_cells([[cell]], ["row"], ["column"], stem=tmp_path / "one", dpi=60, size=(4, 4))
    assert (tmp_path / "one.png").stat().st_size > 0


def test_scale_is_symmetric_and_ignores_single_outliers():
    matrix = np.random.default_rng(0).normal(size=(100, 100))
    matrix[0, 0] = 1e6
    keys = np.arange(100)
    norm = signed_log([Picture(matrix, keys, keys, (0, 1), 100)])
    assert norm.vmin == -norm.vmax and 2 < norm.vmax < 10 and norm.linthresh == pytest.approx(norm.vmax / 100)
    assert norm(0.0) == pytest.approx(0.5), "zero is the middle of the colours"
    ticks = scale_ticks(norm)
    assert ticks == sorted(ticks) and 0 in ticks and max(ticks) <= norm.vmax
    assert signed_log([Picture(0 * matrix, keys, keys, (0, 1), 100)]).vmax == 1, (
        "nothing to show is shown as nothing"
    )


def test_ticks_stand_at_the_first_sample_with_that_sum():
    keys = np.repeat(np.arange(0, 50), 4)
    picture = Picture(np.zeros((200, 200)), keys, keys, (0, 1), 100)
    axes = Figure().subplots()
    show(axes, picture, signed_log([picture]))
    places = dict(zip([t.get_text() for t in axes.get_xticklabels()], axes.get_xticks(), strict=True))
    assert places["20"] == pytest.approx(20 * 4 / 2 - 0.5)


def test_samples_that_do_not_exist_are_an_error(results):
    window = read_dataset(results.windows["late"], kind="window")
    config = copy.deepcopy(results.config)
    config["data"]["test"] = 30
    with pytest.raises(DataError, match="test samples that the experiment does not have"):
        samples_of(window, config, results.phases)
