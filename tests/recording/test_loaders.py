"""Indices of batches from DataLoaders: those that samples say of themselves, for every sampler and any workers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    SequentialSampler,
    WeightedRandomSampler,
)

import explaind
from explaind.errors import RecordingError
from explaind.recording.loaders import index_log
from tests.attribution.test_cases import explained
from tests.attribution.tiny import Net, Run, make_data
from tests.situations import EXACT, refused, situation


class Named(Dataset):
    """Samples that say which they are, which is not where their indices are read."""

    def __init__(self) -> None:
        self.inputs, self.targets = make_data()[0]

    def __len__(self) -> int:
        return len(self.inputs)

    def __getitem__(self, index: int):
        return self.inputs[index], self.targets[index], index


class Stream(IterableDataset):
    def __iter__(self):
        yield from range(7)


class Reused:
    """A batch sampler that fills the same list again."""

    def __iter__(self):
        batch = [0, 0]
        for first in (0, 2, 4):
            batch[:] = [first, first + 1]
            yield batch

    def __len__(self) -> int:
        return 3


WEIGHTS = [1.0, 2.0, 0.5, 3.0, 1.0, 1.0, 0.2]
LOADERS: dict[str, Callable[[], DataLoader]] = {
    "a DataLoader that shuffles, ragged last batch": lambda: DataLoader(Named(), batch_size=3, shuffle=True),
    "a DataLoader with drop_last": lambda: DataLoader(Named(), batch_size=3, shuffle=True, drop_last=True),
    "a weighted sampler": lambda: DataLoader(
        Named(), batch_size=3, sampler=WeightedRandomSampler(WEIGHTS, 7)
    ),
    "a sampler with replacement": lambda: DataLoader(
        Named(), batch_size=3, sampler=RandomSampler(Named(), replacement=True)
    ),
    "a batch sampler of your own": lambda: DataLoader(Named(), batch_sampler=Reused()),
    "persistent workers that load ahead": lambda: DataLoader(
        Named(), batch_size=2, shuffle=True, num_workers=2, prefetch_factor=3, persistent_workers=True
    ),
}


@pytest.mark.filterwarnings("ignore:.*fork.*")
@pytest.mark.parametrize("case", [pytest.param(c, marks=situation("Data", c, EXACT)) for c in LOADERS])
def test_exact(case: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, loader, (train, test) = Net().double(), LOADERS[case](), make_data()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.3)
    batches: list[list[int]] = []
    with explaind.record(tmp_path / "run.zarr", model, optimizer) as run:
        for _ in range(2):
            for indices, (inputs, targets, own) in explaind.indexed(loader):
                assert indices == own.tolist()
                batches.append(own.tolist())
                optimizer.zero_grad()
                F.cross_entropy(model(inputs), targets).backward()
                run.batch(indices)
                optimizer.step()
    assert len(batches) == 2 * len(loader)
    seen = Run(tmp_path / "run.zarr", model, F.cross_entropy, train, test, batches)
    reference = seen.reference(nodes=12)
    assert reference.replay < 1e-12
    assert float(reference.influence.abs().max()) > 1e-4
    torch.testing.assert_close(
        torch.tensor(explained(seen).kernel.values), reference.influence.sum((0, 1)), atol=1e-8, rtol=0
    )


@pytest.mark.filterwarnings("ignore:.*fork.*")
@pytest.mark.parametrize("workers", [0, 2])
def test_a_pass_that_was_left_shifts_nothing(workers: int) -> None:
    loader = explaind.indexed(DataLoader(Named(), batch_size=1, shuffle=True, num_workers=workers))
    for _ in range(2):
        for count, (indices, (_, _, own)) in enumerate(loader):
            assert indices == own.tolist()
            if count == 2:
                break
    together = [(a, x[2].tolist(), b, y[2].tolist()) for (a, x), (b, y) in zip(loader, loader, strict=True)]
    assert len(together) == 7
    assert all(a == own and b == other for a, own, b, other in together)


def test_the_loader_stays_what_it_was() -> None:
    """Same order and same random numbers; its sampler's attributes are read and written through."""
    plain, logged = (DataLoader(Named(), batch_size=2, shuffle=True) for _ in range(2))
    log = index_log(logged)
    assert index_log(logged) is log
    torch.manual_seed(5)
    expected = [own.tolist() for _, _, own in plain]
    torch.manual_seed(5)
    assert [own.tolist() for _, _, own in logged] == expected
    assert [log.pop() for _ in expected] == expected
    assert len(logged) == len(explaind.indexed(logged)) == 4
    logged.batch_sampler.sampler = SequentialSampler(Named())
    assert [own.tolist() for _, _, own in logged] == [[0, 1], [2, 3], [4, 5], [6]]
    assert isinstance(logged.batch_sampler, BatchSampler) and logged.batch_sampler.batch_size == 2


def test_more_batches_than_were_drawn_are_refused() -> None:
    log = index_log(loader := DataLoader(Named(), batch_size=4))
    list(loader)
    assert (log.pop(), log.pop()) == ([0, 1, 2, 3], [4, 5, 6])
    with pytest.raises(RecordingError, match="not drawn from the DataLoader"):
        log.pop()


REFUSED: dict[str, tuple[str, str, Callable[[], object]]] = {
    "an IterableDataset": ("its samples have no index", "have no index", lambda: DataLoader(Stream())),
    "batch_size=None": (
        "no batch sampler, which knows what is in a batch", "no batch sampler", lambda: DataLoader(Named(), batch_size=None),
    ),
    "workers with in_order=False": (
        "batches come in another order than their indices", "another order",
        lambda: DataLoader(Named(), num_workers=2, in_order=False),
    ),
}  # fmt: skip


@pytest.mark.parametrize(
    "case", [pytest.param(c, marks=situation("Data", c, refused(REFUSED[c][0]))) for c in REFUSED]
)
def test_refused(case: str) -> None:
    _, words, make = REFUSED[case]
    with pytest.raises(RecordingError, match=words):
        explaind.indexed(make())


def test_something_else_than_a_loader_is_refused() -> None:
    with pytest.raises(RecordingError, match="do not come from a DataLoader"):
        explaind.indexed([1, 2])
