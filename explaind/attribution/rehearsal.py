"""The first minute of a run: explain its first updates in every way there is, and report what will not work.

A training run may take days. Whether its loss, samples and model are those that were announced, and whether torch can
differentiate the model in the ways that explanations need, shows in its first two updates.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import nn

from explaind.attribution.api import influence
from explaind.errors import ExplaindError, LedgerError
from explaind.features.functional import Forward
from explaind.features.penalty import Penalty
from explaind.features.samples import first_samples
from explaind.features.targets import Loss
from explaind.recording.trajectory import Trajectory

__all__ = ["Rehearsal", "rehearse"]

UPDATES = 2
MODES: dict[str, dict[str, Any]] = {
    "layers, train summed (forward mode)": {"keep": ("step", "layer", "test", "output")},
    "parameters, train summed (reverse mode)": {"keep": ("parameter", "test")},
    "training samples (gradients of single samples)": {"keep": ("layer", "train", "test", "output")},
    "training samples of single steps": {"keep": ("step", "train", "test")},
    "importance": {"keep": ("step", "layer"), "importance": ("test", "output")},
}


@dataclass(frozen=True)
class Rehearsal:
    """What the first updates of a run say about its explanation.

    Attributes:
        replay: why the updates cannot be rebuilt from their batches, or nothing can be explained; None if they can.
        modes: for every way of explaining, why it will not work; None where it does.
    """

    replay: str | None
    modes: dict[str, str | None]

    @property
    def passed(self) -> bool:
        """Can all of it be explained?"""
        return self.replay is None and not any(self.modes.values())

    def __str__(self) -> str:
        if self.replay is not None:
            return self.replay
        lines = [f"{name}: {why or 'works'}" for name, why in self.modes.items()]
        return "\n".join(["The updates follow from their batches.", *lines])


def rehearse(
    run: Trajectory | Path | str,
    model: nn.Module,
    loss_fn: Loss,
    *,
    train: Any,
    forward: Forward | None = None,
    penalty: Penalty | None = None,
    samples: int = 4,
) -> Rehearsal:
    """Rebuild the first two updates of a run and explain a few training samples with them, in every mode.

    It costs a few forward and backward passes on the first batches. The model, the random state and the run are left as they are.

    Args:
        run: path of a recording, of which at least one update is there.
        model, loss_fn, train, forward, penalty: as for `explaind.influence`.
        samples: how many samples are explained.

    Raises:
        StoreError: there is no such recording.
    """
    trajectory = run if isinstance(run, Trajectory) else Trajectory(Path(run))
    with torch.random.fork_rng(devices=[]), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the tolerance of a quadrature is not what is rehearsed
        try:
            few = first_samples(train, samples)
        except ExplaindError as error:
            return Rehearsal(str(error), {})

        modes: dict[str, str | None] = {}
        for name, options in MODES.items():
            try:
                influence(
                    trajectory, model, loss_fn, train=train, test=few, forward=forward, penalty=penalty,
                    steps=slice(0, min(UPDATES, trajectory.n_steps)), max_nodes=9, **options,
                )  # fmt: skip
                modes[name] = None
            except LedgerError as error:
                return Rehearsal(str(error), modes)
            except ExplaindError as error:
                modes[name] = str(error)
    reasons = set(modes.values())
    if len(reasons) == 1 and None not in reasons:  # nothing works, for one reason
        return Rehearsal(reasons.pop(), {})
    return Rehearsal(None, modes)
