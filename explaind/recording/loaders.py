"""The indices of each batch of a torch DataLoader, taken from its own batch sampler.

A DataLoader asks its batch sampler for the indices of a batch and forgets them once the samples are loaded. Here the sampler is
replaced by one that gives the same lists and keeps a copy of each. Batches arrive in the order in which their indices were
drawn, also from worker processes, which draw ahead: the first list of a pass belongs to its first batch.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

import torch
from torch.utils.data import BatchSampler, DataLoader, IterableDataset

from explaind.errors import RecordingError

__all__ = ["IndexLog", "Indexed", "index_log", "indexed"]


class IndexLog:
    """The lists of indices that were drawn and whose batches have not been named yet, one queue for each pass over the loader."""

    def __init__(self) -> None:
        self.latest: deque[list[int]] = deque()

    def begin(self) -> deque[list[int]]:
        """A queue for a new pass; what an abandoned pass had drawn ahead is forgotten."""
        self.latest = deque()
        return self.latest

    def pop(self) -> list[int]:
        """Indices of the next batch of the latest pass."""
        return _pop(self.latest)


class _LoggedBatchSampler(BatchSampler):
    """The batch sampler it is made of, in every attribute, which also notes what it gives."""

    def __init__(self, logged: Any, log: IndexLog) -> None:
        vars(self).update(_logged=logged, _log=log)  # not by assignment, which goes to the sampler below

    def __iter__(self) -> Iterator[list[int]]:
        # Not a generator: the queue begins when the pass does, and not when its first batch is asked for.
        return _noting(iter(self._logged), self._log.begin())

    def __len__(self) -> int:
        return len(self._logged)

    def __getattr__(self, name: str) -> Any:
        if name in ("_logged", "_log"):
            raise AttributeError(name)  # while being copied, before there is a sampler
        return getattr(self._logged, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._logged, name, value)


class Indexed:
    """Batches with the indices of their samples. Made by `explaind.indexed`."""

    def __init__(self, loader: DataLoader[Any]) -> None:
        self._loader, self._log = loader, index_log(loader)

    def __len__(self) -> int:
        return len(self._loader)

    def __iter__(self) -> Iterator[tuple[list[int], Any]]:
        queue = None
        for batch in self._loader:
            # After the first batch: a loader of Accelerate draws nothing before it.
            queue = self._log.latest if queue is None else queue
            yield _pop(queue), batch


def indexed(loader: DataLoader[Any]) -> Indexed:
    """Iterate over (indices, batch) of a DataLoader, for `Recorder.batch(indices)`.

    The order, the samples and the random numbers stay those of the loader, which may shuffle, draw with or without replacement,
    and load in worker processes.

    Args:
        loader: a `torch.utils.data.DataLoader` of a Dataset with an index, or one that was prepared by Accelerate. Its batch
            sampler is replaced by one that notes its lists.

    Returns:
        an iterable of pairs: a list of positions in `loader.dataset`, and the batch as the loader gives it. A `collate_fn` must
        neither drop nor add samples.

    Raises:
        RecordingError: the loader has no indices (an IterableDataset), makes no batches (`batch_size=None`), gives them in
            another order than it drew them (`in_order=False`), or is one of several processes.

    Example:
        >>> for indices, (inputs, targets) in explaind.indexed(loader):  # doctest: +SKIP
        ...     optimizer.zero_grad()
        ...     loss_fn(model(inputs), targets).backward()
        ...     run.batch(indices)
        ...     optimizer.step()
    """
    return Indexed(loader)


def index_log(loader: Any) -> IndexLog:
    """Make `loader` note the indices of its batches.

    Returns:
        the log, which the caller reads; a second call returns the same.

    Raises:
        RecordingError: as of `indexed`.
    """
    inner = getattr(
        loader, "base_dataloader", loader
    )  # Accelerate keeps the loader that draws inside its own
    if not isinstance(inner, DataLoader):
        raise RecordingError(
            "The batches do not come from a DataLoader",
            expected="a torch.utils.data.DataLoader",
            got=type(inner).__name__,
            remedy="pass the DataLoader itself, or name the samples of each update by Recorder.batch(indices)",
        )
    _check(inner)
    present = inner.batch_sampler
    if isinstance(present, _LoggedBatchSampler):
        return present._log
    log = IndexLog()
    # A DataLoader forbids assignment, since workers of a pass in progress would not hear of it; the next pass does.
    vars(inner)["batch_sampler"] = _LoggedBatchSampler(present, log)
    return log


def _check(loader: DataLoader[Any]) -> None:
    if isinstance(loader.dataset, IterableDataset):
        raise RecordingError(
            "The samples of an IterableDataset have no index",
            expected="a Dataset whose samples are taken by index",
            got=type(loader.dataset).__name__,
            remedy="load its samples into a Dataset with an index, in the order in which they will be explained",
        )
    if loader.batch_sampler is None:
        raise RecordingError(
            "The DataLoader has no batch sampler, so it does not know which samples are in a batch",
            expected="batch_size=…, or batch_sampler=…",
            got="batch_size=None",
            remedy="let the DataLoader make the batches",
        )
    if loader.num_workers and not getattr(loader, "in_order", True):
        raise RecordingError(
            "The DataLoader gives its batches in another order than it drew their indices",
            expected="in_order=True",
            got=f"in_order=False with {loader.num_workers} workers",
            remedy="make the DataLoader with in_order=True",
        )
    distributed = torch.distributed.is_available() and torch.distributed.is_initialized()
    processes = torch.distributed.get_world_size() if distributed else 1
    if processes > 1:
        raise RecordingError(
            "Training in several processes cannot be recorded",
            expected="one process that sees every sample of an update",
            got=f"{processes} processes",
            remedy="train in one process; gradient accumulation gives the same batches",
        )


def _noting(batches: Iterator[Any], queue: deque[list[int]]) -> Iterator[Any]:
    for batch in batches:
        queue.append(list(batch))  # a copy: a sampler may fill the same list again
        yield batch


def _pop(queue: deque[list[int]]) -> list[int]:
    if not queue:
        raise RecordingError(
            "A batch was used whose indices were not drawn from the DataLoader",
            expected="one batch for each list of indices",
            got="more batches than lists",
            remedy="take every batch of training from the DataLoader that is recorded",
        )
    return queue.popleft()
