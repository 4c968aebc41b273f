"""A tiny problem whose samples say which they are, so that the true order of a trainer's batches has a source of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.utils.data import Dataset

import explaind
from tests.attribution.test_cases import explained
from tests.attribution.tiny import Net, Run, make_data


class Named(Dataset):
    """Samples as dicts, each with its own number."""

    def __init__(self) -> None:
        self.inputs, self.targets = make_data()[0]

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.inputs[index], "labels": self.targets[index], "index": torch.tensor(index)}


class Noting(Net):
    """Notes the samples that it was trained on, from what they say of themselves."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        super().__init__()
        self.double()
        self.seen: list[list[int]] = []

    def note(self, index: Tensor) -> None:
        if self.training:
            self.seen.append(index.tolist())


def check_exact(
    path: Path, seen: list[list[int]], updates: list[tuple[int, float]], loss, *, clipped: bool = True
) -> None:
    """The recording names the samples that were seen, and influences per sample are those of the definition.

    Args:
        path: of the recording.
        seen: indices of each backward pass, in order, from the samples themselves.
        updates: (number of backward passes, weight of each) of each update.
        loss: the loss function that the weights refer to.
        clipped: whether some gradient must have been clipped.
    """
    trajectory = explaind.Trajectory(path)
    steps = [trajectory.step(s) for s in range(trajectory.n_steps)]
    assert [[batch.indices.tolist() for batch in step.batches] for step in steps] == _split(seen, updates)
    for step, (count, weight) in zip(steps, updates, strict=True):
        assert [batch.weights for batch in step.batches] == pytest.approx([weight] * count, rel=1e-12)
    assert any(step.clip_factor < 1 for step in steps) == clipped
    train, test = make_data()
    run = Run(path, Net().double(), loss, train, test, [])
    reference = run.reference(nodes=12)
    assert reference.replay < 1e-12
    assert float(reference.influence.abs().max()) > 1e-4
    scores = explained(run)
    torch.testing.assert_close(
        torch.tensor(scores.kernel.values), reference.influence.sum((0, 1)), atol=1e-8, rtol=0
    )
    assert float(abs(scores.replay).max()) <= 1e-12


def _split(seen: list[list[int]], updates: list[tuple[int, float]]) -> list[list[list[int]]]:
    left = iter(seen)
    split = [[next(left) for _ in range(count)] for count, _ in updates]
    assert next(left, None) is None, "every batch entered an update"
    return split
