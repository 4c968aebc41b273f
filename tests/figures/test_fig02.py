"""Figure 2 from made tables: rows of panels, curves at the share that is really kept, intervals."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

from explaind.figures import fig02, style
from explaind.tables import pruning_methods
from tests.tables.made_tables import write_pruned

CONFIG = {"figure": {"dpi": 40}, "titles": {"mnist": "MNIST"}}


@pytest.fixture
def table(tmp_path: Path) -> Path:
    pruning_methods.write(pruned=write_pruned(tmp_path), output=tmp_path / "pruning.csv")
    return tmp_path / "pruning.csv"


def drawn(table: Path, stem: Path, monkeypatch: pytest.MonkeyPatch) -> Figure:
    kept: list[Figure] = []
    save = style.save
    monkeypatch.setattr(style, "save", lambda figure, *rest: (kept.append(figure), save(figure, *rest)))
    fig02.draw(CONFIG, pruning=table, stem=stem)
    return kept[0]


def test_a_row_for_each_intervention(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = drawn(table, tmp_path / "fig02", monkeypatch)
    assert len(figure.axes) == 6
    assert all((tmp_path / f"fig02.{suffix}").stat().st_size > 1000 for suffix in ("pdf", "png"))
    rows = pd.read_csv(table)
    first, filters = figure.axes[0], rows[(rows.method == "filters") & (rows.rest == "zero")]
    lines = {line.get_label(): line for line in first.lines}
    line = lines["filters, retrained (Li et al.)"]
    assert line.get_xdata().tolist() == pytest.approx(sorted(filters.kept))
    assert line.get_ydata().tolist() == pytest.approx(filters.sort_values("kept").accuracy.tolist())
    assert len(first.collections) == rows[rows.rest == "zero"].method.nunique(), "an interval for each"
    low, high = first.get_xlim()
    assert low < rows.kept.min() and high > 1
    names = [text.get_text() for text in figure.legends[0].get_texts()]
    assert len(names) == len(set(names)) == len(fig02.METHODS)


def test_one_row_where_nothing_is_reset(table: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pd.read_csv(table)
    rows[(rows.rest == "zero") & (rows.method != "snip")].to_csv(table, index=False)
    figure = drawn(table, tmp_path / "fig02", monkeypatch)
    assert len(figure.axes) == 3 and len(figure.legends[0].get_texts()) == len(fig02.METHODS) - 1
