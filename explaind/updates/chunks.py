"""Parameters in chunks of bounded size, and gradients of one chunk alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from torch import nn

__all__ = ["Chunk", "chunks", "trained_alone"]

Chunk = dict[str, slice]
"""Parameter name → the entries of the flattened tensor that belong to the chunk."""


def chunks(sizes: Mapping[str, int], limit: int) -> Iterator[Chunk]:
    """Parameters in order, cut into runs of at most `limit` entries; a tensor may be in several."""
    limit = max(1, limit)
    chunk: Chunk = {}
    room = limit
    for name, size in sizes.items():
        done = 0
        while done < size:
            if room == 0:
                yield chunk
                chunk, room = {}, limit
            taken = min(room, size - done)
            chunk[name] = slice(done, done + taken)
            done, room = done + taken, room - taken
    yield chunk


@contextmanager
def trained_alone(model: nn.Module, names: Mapping[str, object]) -> Iterator[None]:
    """Inside, only the named parameters need gradients."""
    before = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in names)
    try:
        yield
    finally:
        for parameter, wanted in before:
            parameter.requires_grad_(wanted)
