"""How far an answer has got, kept so that a job that was killed goes on from there (`explaind.runtime.durable`).

Forward and reverse mode go on after the last update that was collected. The contractions, whose one block takes a whole walk,
keep that walk's own state too; see `Walk`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol

from torch import Tensor

from explaind.attribution.block import Advance
from explaind.runtime import durable

__all__ = ["Kept", "Observer", "Walk"]


class Observer(Protocol):
    """Sees (s, Φ_s [R, D]) of every step before it is contracted; for views that need Φ too."""

    def __call__(self, s: int, phi: Tensor) -> None:
        """One step of one block of rows."""

    def state(self) -> Any:
        """What it has seen so far; see `explaind.store.pieces` for what may be in it."""

    def restore(self, state: Any) -> None:
        """Go on from such a state."""


class Collects(Protocol):
    """Collects what the walks yield, such as `explaind.attribution.collector.Collector`."""

    def state(self) -> Any:
        """What it has collected so far."""

    def restore(self, state: Any) -> None:
        """Go on from such a state."""


class Walk:
    """One walk over the explained updates, for one block of test samples.

    Attributes:
        done: updates of the walk that an earlier attempt has collected already; the walk leaves them out.
        inside: the state of an unfinished contraction; None at the start.
    """

    def __init__(self, advance: Advance, done: int, inside: Any, keep: Callable[[Any], None]) -> None:
        self.done, self.inside = done, inside
        self._advance, self._keep = advance, keep

    def advance(self, inside: Callable[[], Any] | None = None) -> None:
        """One more update is done; a contraction says how it would go on from here."""
        self._advance()
        if inside is not None:
            self._keep(inside)

    def within(self, inside: Callable[[], Any]) -> None:
        """A contraction got further without an update: how it would go on from here."""
        self._keep(inside)


class Kept:
    """The state of an answer: blocks of test samples, and updates of the present block, that are collected.

    Args:
        collectors: of all views; brought to where an earlier attempt got.
        observe: the observer of the walks, likewise.
    """

    def __init__(self, collectors: Mapping[str, Collects], observe: Observer | None) -> None:
        self._collectors, self._observe = collectors, observe
        self._section = durable.section("answer")
        state = self._section.load()
        #: Blocks that are complete; updates of the next one; the state of its contraction.
        self._blocks, self._done, self._inside = 0, 0, None
        if state is None:
            return
        self._blocks, self._done, self._inside = state["blocks"], state["done"], state["inside"]
        for name, collector in collectors.items():
            collector.restore(state["collectors"][name])
        if observe is not None:
            observe.restore(state["observed"])

    def walk(self, number: int, advance: Advance) -> Walk | None:
        """The walk for a block of test samples; None if an earlier attempt has completed it."""
        if number < self._blocks:
            return None
        return Walk(advance, self._done, self._inside, self._within)

    def collected(self) -> None:
        """One more block of influences was collected."""
        self._done += 1
        self._section.offer(self._state)

    def completed(self) -> None:
        """All updates of a block of test samples were collected."""
        self._blocks, self._done, self._inside = self._blocks + 1, 0, None
        self._section.offer(self._state)

    def close(self) -> None:
        """All blocks of test samples are complete."""
        self._section.close(self._state)

    def _within(self, inside: Callable[[], Any]) -> None:
        self._section.offer(lambda: {**self._state(), "inside": inside()})

    def _state(self) -> dict[str, Any]:
        return {
            "blocks": self._blocks,
            "done": self._done,
            "inside": None,
            "collectors": {name: collector.state() for name, collector in self._collectors.items()},
            "observed": None if self._observe is None else self._observe.state(),
        }
