"""Record a training run, and rehearse its explanation while the run has just begun."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from explaind.attribution.rehearsal import rehearse
from explaind.errors import RecordingError, RecordingWarning
from explaind.features.functional import Forward
from explaind.features.penalty import Penalty
from explaind.features.targets import Loss
from explaind.recording.recorder import Recorder

__all__ = ["record"]


def record(
    path: Path | str,
    model: nn.Module,
    optimizer: Optimizer | Sequence[Optimizer],
    *,
    config: dict[str, Any] | None = None,
    chunk_steps: int = 16,
    overwrite: bool = False,
    resume: bool = False,
    later: str | Iterable[str] = (),
    keep: str = "all",
    every: int = 16,
    loss_fn: Loss | None = None,
    train: Any = None,
    forward: Forward | None = None,
) -> Recorder:
    """Record every update that `optimizer` makes inside a `with` block.

    Args:
        path: directory of the store to create.
        model: the model that is trained.
        optimizer: over parameters of the model: torch.optim.AdamW, Adam or SGD, or one of `explaind.optimizers`.
            Several of AdamW, Adam and SGD, as a list, over different parameters: each steps once for each update.
        config: JSON values to keep with the run.
        chunk_steps: updates per chunk; memory is about 4 · chunk_steps · D numbers.
        overwrite: replace a trajectory that is already there.
        resume: continue one: model, optimizer and torch's CPU generator are set back to its last whole chunk, and
            `Recorder.step` says how many updates exist. Starts afresh if there is nothing to continue.
        later: names or shell patterns of parameters that get their first gradient after the first update: they are
            unfrozen, used, or added to the optimizer (`add_param_group`) later. "*" for all.
        keep: "all" stores the parameters after every update, and what the optimizer scaled its gradients by. "replay" stores
            them after every `every`-th update and the last; `influence` and `verify`, which then need train and loss_fn, make the
            updates between again from their batches, and compare. Optimizers of torch.optim, gradients clipped by norm.
        every: k, updates between two kept states with keep="replay". Explaining holds about 4 · every · D numbers.
        loss_fn, train, forward: as for `explaind.influence`. With them, the run is rehearsed after its first two updates
            (`explaind.rehearse`): updates that cannot be rebuilt, and a run of which nothing can be explained, are refused at
            once; what cannot be explained otherwise is named in a warning.

    Raises:
        RecordingError, StoreError, ConfigError: before training, when the run could not be recorded faithfully.

    Example:
        >>> with explaind.record("run.zarr", model, optimizer) as run:  # doctest: +SKIP
        ...     for indices in batches:
        ...         optimizer.zero_grad()
        ...         loss_fn(model(inputs[indices]), targets[indices]).backward()
        ...         run.batch(indices)
        ...         optimizer.step()
    """
    rehearsal = None
    if loss_fn is not None and train is not None:
        rehearsal = partial(_rehearse, model, loss_fn, train, forward)
    return Recorder(
        path,
        model,
        optimizer,
        config=config,
        chunk_steps=chunk_steps,
        overwrite=overwrite,
        resume=resume,
        later=later,
        keep=keep,
        every=every,
        rehearse=rehearsal,
    )


def _rehearse(
    model: nn.Module,
    loss_fn: Loss,
    train: Any,
    forward: Forward | None,
    excerpt: Path,
    penalty: Penalty | None,
) -> None:
    """Explain the first two updates, and report now what cannot be explained later."""
    rehearsal = rehearse(excerpt, model, loss_fn, train=train, forward=forward, penalty=penalty)
    if rehearsal.replay is not None:
        raise RecordingError(
            f"The first updates cannot be explained. {rehearsal.replay}",
            remedy="Correct the model, or what record() and Recorder.batch were given, and begin again; without loss_fn and "
            "train a run is recorded as it is.",
        )
    if not rehearsal.passed:
        warnings.warn(f"Not everything will be explainable. {rehearsal}", RecordingWarning, stacklevel=6)
