"""What the interventions on a language model share: names, the held-out sequences that are measured, checks, and the table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor

from explaind.errors import ConfigError
from explaind.experiments.language.pretraining import Pretraining
from explaind.store.files import write_csv
from explaind.studies.intervention import COLUMNS, CONTROL, FROZEN, LEFT_OUT, RESET, RETRAINED

__all__ = [
    "CONTROL",
    "FROZEN",
    "LEFT_OUT",
    "RESET",
    "RETRAINED",
    "check_checkpoint",
    "heldout_sequences",
    "write_rows",
]


def check_checkpoint(name: str, known: Sequence[str]) -> None:
    """Raise ConfigError unless the interventions of this configuration start from the checkpoint."""
    if name not in known:
        raise ConfigError(
            f"There are no interventions at the checkpoint {name}.",
            expected=f"one of {', '.join(known)}",
            got=name,
            remedy="Choose checkpoints of the run with study.proportionality.stride and interval_stride.",
        )


def heldout_sequences(experiment: Pretraining, each: int, tests: int) -> Tensor:
    """`tests` held-out sequences [tests, T], evenly spread over those of the languages that are trained on.

    Args:
        experiment: has the text.
        each: sequences of a language to choose from.
        tests: how many.

    Raises:
        ConfigError: there are fewer.
    """
    sequences, _ = experiment.heldout(each, trained=True)
    if tests > len(sequences):
        raise ConfigError(
            "There are too few held-out sequences to measure interventions with.",
            expected=f"study.proportionality.tests of at most {len(sequences)}",
            got=f"{tests}",
            remedy="Lower it, or raise influence.heldout.",
        )
    return sequences[(torch.arange(tests) * len(sequences)) // tests]


def write_rows(
    rows: Iterable[tuple], output: Path, *, experiment: str, window: str, start: int, stop: int
) -> None:
    """Write the interventions of one window [start, stop) as a CSV with the columns of `explaind.studies.intervention`."""
    where = (experiment, window, start, stop)
    write_csv(pd.DataFrame([(*where, *row) for row in rows], columns=COLUMNS), output)
