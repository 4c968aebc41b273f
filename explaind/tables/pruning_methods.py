"""What is left of a model when a method decides which parameters are kept: means and intervals over splits of the test set."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from explaind.config.declarations import Table
from explaind.store.files import write_csv
from explaind.studies.pruning_claims import interval

__all__ = ["COLUMNS", "MEASURES", "TABLE", "read_splits", "write"]

TABLE = Table(
    file="pruning",
    shows="pruned models by method",
    details="One row per experiment, method, intervention and fraction. All parameters but the output layer's are ranked in "
    "one list. Intervals are Student's, over random splits of the test set into samples for scores and samples for "
    "evaluation; as the splits overlap, they say how much a result depends on the split, and not how it would vary with other "
    "training runs.",
    caption="**Pruned models.** Accuracy, agreement with the original model and KL divergence from it, of every method and "
    "fraction, with intervals over splits of the test set.",
    inputs={"pruned": "pruning"},
    requires="study.pruning",
    across=True,
    columns={
        "experiment": ("", "its folder"),
        "method": (
            "",
            "`explaind`: kernel importance over the run; `filters`: the largest by L1 norm, retrained after each removal (Li "
            "et al., 2017); `filters_unretrained`; `magnitude` of a weight, and of its `change` in "
            "training; `gradient_weight`: gradient of the outputs × weight; `snip` and `fisher`: of the training loss; `random`",
        ),
        "rest": ("", "what the parameters that are not kept are set to: `zero`, or their `initial` values"),
        "fraction": ("share", "of the parameters outside the output layer that may be kept"),
        "kept": (
            "share",
            "that is kept: less than `fraction` for whole filters, and for rounding; mean over splits",
        ),
        "accuracy": ("share", "of evaluated test samples that are classified rightly, mean over splits"),
        "accuracy_low": ("share", "lower end of its 95% interval"),
        "accuracy_high": ("share", "upper end"),
        "agreement": ("share", "of evaluated test samples with the original model's prediction, mean over splits"),
        "agreement_low": ("share", "lower end of its 95% interval"),
        "agreement_high": ("share", "upper end"),
        "kl": ("nats", "KL divergence from the original to the pruned model's distribution, mean over samples and splits"),
        "kl_low": ("nats", "lower end of its 95% interval"),
        "kl_high": ("nats", "upper end"),
        "original": ("share", "accuracy of the original model on the same samples, mean over splits"),
        "splits": ("", "of the test set"),
    },
)  # fmt: skip

COLUMNS = tuple(TABLE.columns)
MEASURES = ("accuracy", "agreement", "kl")


def write(*, pruned: Sequence[Path], output: Path) -> None:
    """Put the splits together.

    Args:
        pruned: CSV of each experiment and split of the study `pruning`, below a folder of the experiment's name.
        output: CSV with `COLUMNS`.
    """
    rows = []
    keys = ["experiment", "method", "rest", "fraction"]
    for values, group in read_splits(pruned).groupby(keys, sort=False):
        row = dict(zip(keys, values, strict=True)) | {"kept": group.kept.mean()}
        for name in MEASURES:
            row[name], row[f"{name}_low"], row[f"{name}_high"] = interval(group[name].to_numpy())
        rows.append(row | {"original": group.original.mean(), "splits": len(group)})
    write_csv(pd.DataFrame(rows, columns=COLUMNS), output)


def read_splits(paths: Sequence[Path]) -> pd.DataFrame:
    """The rows of all splits, with the name of the experiment in front."""
    parts = [pd.read_csv(path).assign(experiment=Path(path).parent.parent.name) for path in paths]
    return pd.concat(parts, ignore_index=True)
