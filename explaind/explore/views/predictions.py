"""The explained samples: what they are, what was predicted, and how far the decomposition misses it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch

from explaind.explore.sources import Source
from explaind.explore.views.view import View

__all__ = ["predictions", "values_of"]

COLUMNS = ("test", "label", "predicted", "right", "value", "residual")
COMPUTED = 2000  # test samples that are evaluated where no results are stored


def predictions(source: Source) -> View:
    """Every explained test sample: label and prediction, the output of the true class (or of the predicted one, without
    labels), and the largest residual of its decomposition over the run (empty where none is stored)."""
    final, residual = values_of(source)
    labels = labels_of(source, len(final))
    predicted = final.argmax(1)
    one_of_many = final.shape[1] > 1
    rows = []
    for i, values in enumerate(final):
        label = None if labels is None else int(labels[i])
        index = label if label is not None and label < len(values) else int(predicted[i])
        rows.append(
            (
                i,
                label,
                int(predicted[i]) if one_of_many else None,
                None if label is None or not one_of_many else bool(predicted[i] == label),
                float(f"{values[index]:.6g}"),
                None if residual is None else float(f"{np.abs(residual[i]).max():.3g}"),
            )
        )
    right = [row[3] for row in rows if row[3] is not None]
    words = f"{len(rows):,} explained samples"
    words += f", {sum(right):,} of them predicted rightly." if right else "."
    return View(words, COLUMNS, rows, more={"outputs": final.shape[1], "names": names_of(source)})


def values_of(source: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """Outputs after the last update, [n, O], and what the stored decomposition misses of them, or None."""
    stored = source.dataset("influence.zarr", "influence") if source.store is not None else None
    if stored is not None:
        final = stored["final"].transpose("test", "output").values
        return final, stored["residual"].transpose("test", "output").values
    from explaind.attribution.problem import make_problem
    from explaind.attribution.query import Query
    from explaind.features.masked import chosen_tests

    model, loss, test = source.problem.model, source.problem.loss, source.problem.test
    problem = make_problem(source.run, model, loss, Query(), test=chosen_tests(test, slice(0, COMPUTED)))
    values = problem.values(source.run.n_steps, *problem.test.take(slice(None)))
    return values.double().cpu().numpy(), None


def labels_of(source: Source, count: int) -> np.ndarray | None:
    """The targets of the test samples, if they are classes."""
    test: Any = source.known and source.known.test
    only = getattr(test, "only", None)  # of explaind.Masked
    test = getattr(test, "samples", test)
    if not isinstance(test, tuple | list) or len(test) < 2:
        return None
    targets = torch.as_tensor(test[1])
    targets = targets[:count] if only is None else targets[list(only)[:count]]
    return None if targets.is_floating_point() or targets.dim() != 1 else targets.numpy()


def names_of(source: Source) -> list[str]:
    """Of the classes; empty: their numbers."""
    classes = (source.data.get("source") or {}).get("classes") if source.data else None
    if not classes or source.data.get("name") != "cifar2":
        return []
    from explaind.datasets.cifar10 import CLASSES

    return [CLASSES[int(number)] for number in sorted(classes)]
