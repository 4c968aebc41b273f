"""Pictures and words of an answer show its numbers."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr

import explaind
import explaind.plot
from explaind.errors import QueryError
from tests.attribution.tiny import Run, record_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("plot") / "run.zarr"
    return record_run(path, lambda model: torch.optim.AdamW(model.parameters(), lr=0.05, weight_decay=0.1))


def asked(run: Run, *keep: str, **options) -> xr.Dataset:
    return explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test, keep=keep, **options
    )


def test_a_timeline_has_a_line_for_each_layer_and_for_decay(run: Run) -> None:
    scores = asked(run, "step", "layer", "test", "output")
    axes = explaind.plot.timeline(scores)
    lines = {
        line.get_label(): line.get_ydata() for line in axes.lines if not line.get_label().startswith("_")
    }
    assert set(lines) == {"first", "second", "regularization"}
    over = scores.kernel.sum(("test", "output"))
    np.testing.assert_allclose(lines["first"], over.sel(layer="first").cumsum("step"))
    np.testing.assert_allclose(
        lines["regularization"], scores.regularization.sum(("layer", "test", "output")).cumsum("step")
    )
    one = explaind.plot.timeline(scores.sel(test=1, layer="first"), cumulative=False)
    np.testing.assert_allclose(
        one.lines[0].get_ydata(), scores.kernel.sel(test=1, layer="first").sum("output")
    )


def test_importances_are_not_summed_up(run: Run) -> None:
    scores = asked(run, "step", "layer", importance=("test", "output"))
    axes = explaind.plot.timeline(scores)
    np.testing.assert_allclose(axes.lines[0].get_ydata(), scores.kernel.sel(layer="first"))
    with pytest.raises(QueryError, match="without importance"):
        explaind.plot.waterfall(scores)


def test_top_samples_and_the_rest_add_up(run: Run) -> None:
    scores = asked(run, "train", "test", "output")
    axes = explaind.plot.top_samples(scores.sel(test=0, output=2), top=2)
    values = scores.kernel.sel(test=0, output=2)
    widths = [bar.get_width() for bar in axes.patches]
    assert len(widths) == 5 and sum(widths) == pytest.approx(float(values.sum()))
    assert widths[0] == float(values.max()) and widths[-1] == float(values.min())
    labels = [label.get_text() for label in axes.get_yticklabels()]
    assert labels[0] == str(int(values.values.argmax())) and labels[2] == "3 others"
    some = asked(run, "train", "test", "output", samples=[1, 4])
    chosen = explaind.plot.top_samples(some.sel(test=0, output=2), top=1)
    assert sum(bar.get_width() for bar in chosen.patches) == pytest.approx(float(values.sum()))


def test_a_kernel_is_test_by_train(run: Run) -> None:
    scores = asked(run, "train", "test", "output")
    image = explaind.plot.kernel(scores.sel(output=1)).images[0]
    np.testing.assert_allclose(image.get_array(), scores.kernel.sel(output=1).transpose("test", "train"))


def test_a_waterfall_ends_at_the_final_value(run: Run) -> None:
    scores = asked(run, "layer", "test", "output", steps=[1, 3]).sel(test=2)
    parts = explaind.plot.parts(scores)
    assert list(parts) == ["initial", "kernel", "regularization", "residual", "omitted", "final"]
    assert sum(list(parts.values())[:-1]) == pytest.approx(parts["final"], abs=1e-9)
    axes = explaind.plot.waterfall(scores)
    assert axes.patches[-1].get_width() == parts["final"]
    ends = [bar.get_x() + bar.get_width() for bar in axes.patches[:-1]]
    assert ends[-1] == pytest.approx(parts["final"], abs=1e-9)


@pytest.mark.parametrize(
    ("draw", "axis"), [("timeline", "step"), ("top_samples", "train"), ("kernel", "train")]
)
def test_an_axis_that_was_not_kept_is_named(run: Run, draw: str, axis: str) -> None:
    with pytest.raises(QueryError, match=f"axis '{axis}'"):
        getattr(explaind.plot, draw)(asked(run, "layer", "test"))


def test_a_description_says_what_was_asked_and_checked(run: Run) -> None:
    scores = asked(run, "train", "test", "output", target="margin", steps=slice(1, 4))
    described = explaind.describe(scores)
    said = repr(described)
    for words in (
        "margin",
        "1 to 3 of run.zarr",
        "train 7 × test 3",
        "every update was rebuilt",
        "quadrature",
        "replay",
    ):
        assert words in said
    numbers = re.search(r"sum +(\S+) initial .* = (\S+)", said)
    assert float(numbers[1]) == pytest.approx(float(scores.initial.sum()), rel=1e-3)
    assert float(numbers[2]) == pytest.approx(float(scores.final.sum()), rel=1e-3)
    shown = described._repr_html_()
    assert "<th" in shown and "data:image/png;base64," in shown
    assert "only part" not in repr(explaind.describe(asked(run, "step")))


def test_other_datasets_are_not_described() -> None:
    with pytest.raises(QueryError, match="no scores"):
        explaind.describe(xr.Dataset({"a": 1}))


def test_importing_explaind_does_not_import_matplotlib(tmp_path: Path) -> None:
    code = "import sys, explaind; explaind.describe; assert 'matplotlib' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
