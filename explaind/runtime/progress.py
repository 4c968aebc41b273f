"""Progress of a long loop: a bar with rate and remaining time on a terminal, silence everywhere else.

`track` wraps an iterable, or is a context whose `advance(n)` counts by hand. Bars may be nested: inner ones
appear below.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from types import TracebackType
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["Track", "track", "watched"]

T = TypeVar("T")
Listener = Callable[[str, int, int | None], None]
#: Is told of the progress of every loop of this thread, whether or not a bar is shown.
_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def watched(listener: Listener) -> Iterator[None]:
    """Within this block, tell `listener` what is going on: (description, units done, units in all or None).

    What it raises ends the loop, and with it the work.
    """
    before = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(before)


class Track(Generic[T]):
    """One bar, or nothing at all when standard error is not a terminal."""

    #: The display that all bars of this process share, and how many of them are shown: rich allows one.
    _display: Progress | None = None
    _shown: int = 0

    def __init__(self, items: Iterable[T] | None, total: int | None, description: str, unit: str) -> None:
        self._items = items
        self._total = total
        self._description = description
        self._unit = unit
        self._task: int | None = None
        self._done = 0

    def __enter__(self) -> Track[T]:
        if sys.stderr.isatty():
            if Track._display is None:
                Track._display = _new_display()
                Track._display.start()
            Track._shown += 1
            self._task = Track._display.add_task(self._description, total=self._total, unit=self._unit)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is None:
            return
        self._task = None
        Track._shown -= 1
        if Track._shown == 0 and Track._display is not None:
            Track._display.stop()
            Track._display = None

    def __iter__(self) -> Iterator[T]:
        if self._items is None:
            raise TypeError(
                "track() without an iterable is a context: use `with track(None, ...) as bar: bar.advance()`."
            )
        with self:
            for item in self._items:
                yield item
                self.advance()

    def advance(self, n: int = 1) -> None:
        """Count `n` more units as done."""
        self._done += n
        if (listener := _LISTENER.get()) is not None:
            listener(self._description, self._done, self._total)
        if self._task is not None and Track._display is not None:
            Track._display.advance(self._task, n)


def track(
    iterable: Iterable[T] | None = None, *, total: int | None = None, description: str, unit: str = "step"
) -> Track[T]:
    """Show the progress of a loop on a terminal.

    Args:
        iterable: what to loop over; None for a context that is advanced by hand.
        total: number of units; by default the iterable's length, unknown if it has none.
        description: what is going on, shown before the bar.
        unit: what is counted, shown in the rate.

    Returns:
        An iterable over the same items, and a context manager with `advance(n)`.
    """
    if total is None and hasattr(iterable, "__len__"):
        total = len(iterable)  # type: ignore[arg-type]
    return Track(iterable, total, description, unit)


def _new_display() -> Progress:
    # Imported here: most processes never show a bar.
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        ProgressColumn,
        Task,
        TextColumn,
        TimeRemainingColumn,
    )
    from rich.text import Text

    class Rate(ProgressColumn):
        """Units per second, or seconds per unit when slow."""

        def render(self, task: Task) -> Text:
            unit, speed = task.fields["unit"], task.finished_speed or task.speed
            if not speed:
                return Text(f"- {unit}/s")
            return Text(f"{speed:.1f} {unit}/s" if speed >= 1 else f"{1 / speed:.1f} s/{unit}")

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        Rate(),
        TimeRemainingColumn(),
    )
    return Progress(*columns, console=Console(stderr=True))
