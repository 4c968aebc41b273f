"""The generator: every kind of faulty (and healthy) run, and the seeds that it is drawn with."""

from __future__ import annotations

import os
import re

from tests.properties import faulty_batches, faulty_data, faulty_gradients, faulty_memory, faulty_models
from tests.properties.loops import Loop

ROOMS = (faulty_batches, faulty_memory, faulty_gradients, faulty_models, faulty_data)
KINDS: tuple[type[Loop], ...] = tuple(kind for room in ROOMS for kind in room.KINDS)
#: Runs of each kind; a longer search: FAULT_SEEDS=5 pytest tests/properties.
SEEDS = int(os.environ.get("FAULT_SEEDS", "1"))

CASES = [(kind, seed) for kind in KINDS for seed in range(SEEDS)]


def name_of(case: tuple[type[Loop], int]) -> str:
    """ "WrongBatch", 3 → "wrong-batch-3"."""
    kind, seed = case
    return re.sub(r"(?<!^)(?=[A-Z])", "-", kind.__name__).lower() + f"-{seed}"
