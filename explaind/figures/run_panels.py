"""The frame of figures of every run: one row per setting, one column per seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from explaind.figures.style import new_figure

__all__ = ["run_panels"]


@contextmanager
def run_panels(
    runs: Sequence[Path], stem: Path, dpi: int, *, height: float = 1.25
) -> Iterator[tuple[Figure, list[tuple[Axes, Path]]]]:
    """A figure with a panel for each run, and the folder of each; saved as `stem`.pdf and .png when the block ends.

    Args:
        runs: folders `<setting>/<seed>` of `explaind.studies.explain_run`.
        stem: output path without its suffix.
        dpi: dots per inch of the PNG.
        height: of a row, inches.
    """
    paths = [Path(run) for run in runs]
    settings = {name: [path for path in paths if path.parts[-2] == name] for name in _settings(paths)}
    with new_figure(0.6 + height * len(settings), stem, dpi) as figure:
        grid = figure.subplots(len(settings), max(map(len, settings.values())), sharey=True, squeeze=False)
        panels = []
        for row, (name, chosen) in zip(grid, settings.items(), strict=True):
            for axes, path in zip(row, chosen, strict=False):
                axes.set_title(f"seed {path.name}", fontsize="medium")
                panels.append((axes, path))
            for axes in row[len(chosen) :]:
                axes.set_axis_off()
            row[0].set_ylabel(name.replace("_", " "), fontweight="bold")
        for axes in grid[-1]:
            axes.set_xlabel("training step")
        yield figure, panels


def _settings(paths: Sequence[Path]) -> list[str]:
    return list(dict.fromkeys(path.parts[-2] for path in paths))
