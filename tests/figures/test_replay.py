"""The certificate as a figure: what is above the tolerance is above the line, and an exact replay is a gap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes

from explaind.figures import replay
from explaind.store import write_dataset


def test_points_are_the_measured_differences(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    relative = np.array([1e-7, 0.0, 5e-3])
    dataset = xr.Dataset(
        {"replay_relative": ("step", relative), "replay_rounding": ("step", np.full(3, 1e-6))},
        coords={"step": np.arange(3)},
        attrs={"tolerance": 1e-3},
    )
    write_dataset(dataset, tmp_path / "certificate.zarr", kind="certificate")
    drawn: dict[str, np.ndarray] = {}
    tops: list[float] = []
    plot, limit = Axes.plot, Axes.set_ylim

    def plotted(axes: Axes, x: np.ndarray, y: np.ndarray, *style: str, **options: object) -> object:
        drawn[str(options["label"])] = y
        return plot(axes, x, y, *style, **options)

    monkeypatch.setattr(Axes, "plot", plotted)
    monkeypatch.setattr(
        Axes, "set_ylim", lambda axes, *a, **k: (tops.append(k.get("top")), limit(axes, *a, **k))[1]
    )
    config = {"figure": {"dpi": 60}}
    replay.draw(config, certificate=tmp_path / "certificate.zarr", stem=tmp_path / "replay")
    np.testing.assert_array_equal(drawn["difference"], [1e-7, np.nan, 5e-3])
    assert max(top for top in tops if top) > 5e-3, "the worst update is on the page"
    assert {path.suffix for path in tmp_path.glob("replay.*")} == {".pdf", ".png"}
