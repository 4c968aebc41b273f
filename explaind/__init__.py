"""ExPLAIND: what each training step, parameter and training sample contributed to a network's predictions, exactly.

    import explaind

    with explaind.record("run.zarr", model, optimizer) as run:
        ...                                  # the training loop, with run.batch(indices) before optimizer.step()
    scores = explaind.influence("run.zarr", model, loss_fn, train=(x, y), test=x_test, keep=("step", "layer", "test", "output"))

    update = explaind.explain_update(explaind.open_checkpoint("step-1000"), model, losses, batch, heldout)

Importing this package does not import torch; the first use of one of its functions does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explaind.attribution.api import influence, plan
    from explaind.attribution.certificate import verify
    from explaind.attribution.record import record
    from explaind.attribution.rehearsal import Rehearsal, rehearse
    from explaind.checkpoints import (
        Checkpoint,
        Hyperparameters,
        TrainingState,
        open_checkpoint,
        write_checkpoint,
    )
    from explaind.description import describe
    from explaind.features.masked import Masked
    from explaind.features.samples import Augmented, Tokens
    from explaind.features.units import Cut, make_units
    from explaind.ledger.average import Average
    from explaind.recording.loaders import indexed
    from explaind.recording.trajectory import Trajectory
    from explaind.updates.explain import explain_update

__version__ = "0.1.0"
__all__ = [
    "Augmented",
    "Average",
    "Checkpoint",
    "Cut",
    "Hyperparameters",
    "Masked",
    "Rehearsal",
    "Tokens",
    "TrainingState",
    "Trajectory",
    "describe",
    "explain_update",
    "indexed",
    "influence",
    "make_units",
    "open_checkpoint",
    "plan",
    "record",
    "rehearse",
    "verify",
    "write_checkpoint",
]

_HOME = {
    "Augmented": "explaind.features.samples",
    "Average": "explaind.ledger.average",
    "Checkpoint": "explaind.checkpoints",
    "Cut": "explaind.features.units",
    "Hyperparameters": "explaind.checkpoints",
    "Masked": "explaind.features.masked",
    "Rehearsal": "explaind.attribution.rehearsal",
    "Tokens": "explaind.features.samples",
    "TrainingState": "explaind.checkpoints",
    "Trajectory": "explaind.recording.trajectory",
    "describe": "explaind.description",
    "explain_update": "explaind.updates.explain",
    "indexed": "explaind.recording.loaders",
    "influence": "explaind.attribution.api",
    "make_units": "explaind.features.units",
    "open_checkpoint": "explaind.checkpoints",
    "plan": "explaind.attribution.api",
    "record": "explaind.attribution.record",
    "rehearse": "explaind.attribution.rehearsal",
    "verify": "explaind.attribution.certificate",
    "write_checkpoint": "explaind.checkpoints",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'explaind' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
