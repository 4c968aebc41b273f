"""Checkpoints: weights and the state of AdamW, Adam or SGD, read one tensor at a time.

`open_checkpoint` reads our own folders, torch's `optimizer.state_dict()` and Megatron's fused tensors; `write_checkpoint` writes
our own. `explaind.checkpoints.hub` fetches published weights.
"""

from __future__ import annotations

from explaind.checkpoints.checkpoint import Checkpoint, open_checkpoint
from explaind.checkpoints.hyperparameters import Hyperparameters
from explaind.checkpoints.options import GroupedHyperparameters, Options
from explaind.checkpoints.training import TrainingState
from explaind.checkpoints.write import write_checkpoint

__all__ = [
    "Checkpoint",
    "GroupedHyperparameters",
    "Hyperparameters",
    "Options",
    "TrainingState",
    "open_checkpoint",
    "write_checkpoint",
]
