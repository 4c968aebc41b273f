"""ExPLAIND: what each training step, parameter and training sample contributed to a network's predictions, exactly.

    import explaind

    with explaind.record("run.zarr", model, optimizer) as run:
        ...                                  # the training loop, with run.batch(indices) before optimizer.step()
    scores = explaind.influence("run.zarr", model, loss_fn, train=(x, y), test=x_test, keep=("step", "layer", "test", "output"))

Importing this package does not import torch; the first use of one of its functions does.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from explaind.attribution.api import influence, plan
    from explaind.certificate import verify
    from explaind.features.samples import Augmented
    from explaind.recording import record
    from explaind.recording.trajectory import Trajectory

__version__ = "0.1.0"
__all__ = ["Augmented", "Trajectory", "influence", "plan", "record", "verify"]

_HOME = {
    "Augmented": "explaind.features.samples",
    "Trajectory": "explaind.recording.trajectory",
    "influence": "explaind.attribution.api",
    "plan": "explaind.attribution.api",
    "record": "explaind.recording",
    "verify": "explaind.certificate",
}


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'explaind' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
