"""A tiny problem whose samples say which they are, so that the true order of a trainer's batches has a source of its own."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import Dataset

import explaind
from explaind.errors import LedgerError
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


def size_of(model: nn.Module) -> Tensor:
    """A penalty: of whatever holds the tiny net's parameters."""
    return 0.02 * sum(p.square().sum() + p.abs().sum() for p in model.parameters())


def check_penalized(path: Path, weights: list[float], loss) -> None:
    """Every update follows from its batches and the penalty with these weights, and the answer has the penalty as a term.

    Args:
        path: of the recording.
        weights: of the penalty in each update.
        loss: the loss function without the penalty.
    """
    trajectory = explaind.Trajectory(path)
    assert [trajectory.penalty(s) for s in range(trajectory.n_steps)] == pytest.approx(weights, rel=1e-12)
    train, test = make_data()
    run = {"run": path, "model": Net().double(), "loss_fn": loss, "train": train, "penalty": size_of}
    certificate = explaind.verify(**run)
    assert certificate.attrs["passed"] and float(certificate.replay_relative.max()) < 1e-10
    scores = explaind.influence(
        **run, test=test[0], keep=("train", "test"), tolerance=1e-10, max_nodes=243, tail_tolerance=0
    )
    assert float(abs(scores.penalty).max()) > 1e-5 and float(abs(scores.residual).max()) < 1e-8
    with pytest.raises(LedgerError, match="penalty"):
        explaind.influence(**{**run, "penalty": None}, test=test[0])


def _split(seen: list[list[int]], updates: list[tuple[int, float]]) -> list[list[list[int]]]:
    left = iter(seen)
    split = [[next(left) for _ in range(count)] for count, _ in updates]
    assert next(left, None) is None, "every batch entered an update"
    return split
