"""A contact sheet of a data set: a row of training images of each class, and where the pixels came from."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from explaind.config.declarations import Figure
from explaind.datasets.cifar10 import CLASSES
from explaind.figures.style import new_figure
from explaind.store import read_dataset

__all__ = ["FIGURE", "draw"]

FIGURE = Figure(
    label="{experiment}",
    file="data_{experiment}",
    shows="contact sheet of the data set",
    details="the first training images of each class",
    caption="**Contact sheet.** The first training images of each class, as fetched.",
    inputs={"data": "data"},
    options=("figure.dpi",),
    requires="study.examples",
)

SHOWN = 16  # images in a row


def draw(config: Mapping[str, Any], *, data: Path, stem: Path) -> None:
    """Draw the figure.

    Args:
        config: resolved configuration; read is `figure.dpi`.
        data: store of kind "images".
        stem: output path without its suffix.
    """
    store = read_dataset(data, kind="images")
    images, labels = store["train_images"].values, store["train_labels"].values
    names = CLASSES if store.attrs["dataset"] == "cifar10" else [str(digit) for digit in range(10)]
    classes = np.unique(labels)
    rows = [
        np.concatenate(list(images[np.flatnonzero(labels == label)[:SHOWN]]), axis=-1) for label in classes
    ]
    sheet = np.concatenate(rows, axis=-2).transpose(1, 2, 0)
    height, width = sheet.shape[:2]
    with new_figure(6.2 * height / width + 0.5, stem, config["figure"]["dpi"]) as figure:
        axes = figure.subplots()
        axes.imshow(
            sheet.squeeze(-1) if sheet.shape[-1] == 1 else sheet, cmap="gray", interpolation="nearest"
        )
        size = height / len(classes)
        counts = [int((labels == label).sum()) for label in classes]
        ticks = [f"{names[label]} ({count:,})" for label, count in zip(classes, counts, strict=True)]
        axes.set_yticks((np.arange(len(classes)) + 0.5) * size - 0.5, ticks)
        axes.set(xticks=[])
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        of, origin, digest = (store.attrs[key] for key in ("dataset", "origin", "sha256"))
        sizes = f"{len(labels):,} training and {store.sizes['test_sample']:,} test images"
        axes.set_title(f"{of}, from {origin}: {sizes}; SHA-256 {digest[:16]}…", loc="left", fontsize=7)
