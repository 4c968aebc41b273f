"""Progress bars: silent without a terminal, and never in the way of the loop."""

from __future__ import annotations

import io
import sys

import pytest

from explaind.runtime.progress import Track, track


class Terminal(io.StringIO):
    """A text stream that says it is a terminal."""

    def isatty(self) -> bool:
        return True


def test_silent_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(track(range(3), description="counting")) == [0, 1, 2]
    with track(None, total=2, description="by hand") as bar:
        bar.advance()
        bar.advance(1)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def test_bar_with_rate_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert sum(track(range(4), description="outer", unit="part")) == 6
    assert "outer" in terminal.getvalue()
    assert "4/4" in terminal.getvalue()
    assert Track._display is None


def test_nested_bars_share_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with track(None, total=1, description="outer"):
        display = Track._display
        for _ in track([1, 2], description="inner"):
            assert Track._display is display
        assert Track._display is display
    assert Track._display is None


def test_a_loop_that_stops_early_closes_its_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", Terminal())
    with pytest.raises(ValueError, match="stop"):
        for _ in track(range(5), description="breaks"):
            raise ValueError("stop")
    loop = iter(track(range(5), description="left"))
    next(loop)
    del loop
    assert Track._display is None


def test_without_an_iterable_it_cannot_be_looped_over() -> None:
    with pytest.raises(TypeError, match="is a context"):
        list(track(None, total=3, description="nothing"))
