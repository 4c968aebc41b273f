"""A loop of one's own with Accelerate, as docs/own-run.md writes it."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from accelerate import Accelerator
from torch.utils.data import DataLoader

import explaind
from tests.callbacks.named import Named, Noting, check_exact
from tests.situations import EXACT, situation

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library, about devices


@situation("Trainers", "a loop with Accelerate, accumulation and clipping", EXACT)
def test_accumulation_and_clipping(tmp_path: Path) -> None:
    """Micro-batches of 2, 2 | 2, 1 samples; Accelerate divides each loss by two."""
    torch.manual_seed(0)
    accelerator = Accelerator(cpu=True, gradient_accumulation_steps=2)
    model = Noting()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.01, weight_decay=0.3)
    loader = DataLoader(Named(), batch_size=2, shuffle=True)
    model, optimizer, loader = accelerator.prepare(model, optimizer, loader)
    batches = explaind.indexed(loader)
    with explaind.record(tmp_path / "run.zarr", model, optimizer.optimizer) as run:
        for _ in range(2):
            for indices, batch in batches:
                with accelerator.accumulate(model):
                    model.note(batch["index"])
                    accelerator.backward(F.cross_entropy(model(batch["x"]), batch["labels"]))
                    run.batch(indices, 1 / accelerator.gradient_accumulation_steps)
                    if accelerator.sync_gradients:
                        accelerator.clip_grad_norm_(model.parameters(), 0.3)
                    optimizer.step()
                    optimizer.zero_grad()
    check_exact(tmp_path / "run.zarr", model.seen, [(2, 1 / 2)] * 4, F.cross_entropy)
