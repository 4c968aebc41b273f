"""Kinds of options: what a value may be, and how to say so.

An `Option` is a test and the sentence that tells a user what would have passed it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from explaind.errors import ConfigError


@dataclass(frozen=True)
class Option:
    """One option: `accepts(value)` is true when the value is allowed, `expected` describes allowed values."""

    accepts: Callable[[Any], bool]
    expected: str


def integer(low: int, high: int | None = None) -> Option:
    """A whole number from `low` to `high`, both included."""
    span = f"of at least {low}" if high is None else f"from {low} to {high}"
    return Option(
        lambda value: _is_int(value) and low <= value and (high is None or value <= high),
        f"a whole number {span}",
    )


def number(low: float, high: float = math.inf, *, open_low: bool = False, open_high: bool = False) -> Option:
    """A finite number between `low` and `high`; an open end is excluded."""
    parts = [f"{'above' if open_low else 'of at least'} {low:g}"]
    if math.isfinite(high):
        parts.append(f"{'below' if open_high else 'of at most'} {high:g}")

    def accepts(value: Any) -> bool:
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            return False
        above = value > low if open_low else value >= low
        below = value < high if open_high else value <= high
        return above and below

    return Option(accepts, f"a number {' and '.join(parts)}")


def choice(*values: str) -> Option:
    """One of a few words."""
    return Option(lambda value: isinstance(value, str) and value in values, f"one of {', '.join(values)}")


def choice_of(*values: int) -> Option:
    """One of a few whole numbers."""
    return Option(lambda value: _is_int(value) and value in values, f"one of {', '.join(map(str, values))}")


def truth() -> Option:
    """true or false."""
    return Option(lambda value: isinstance(value, bool), "true or false")


def text() -> Option:
    """Any text that is not empty."""
    return Option(lambda value: isinstance(value, str) and bool(value), "a text that is not empty")


def listing(item: Option, *, length: int | None = None, distinct: bool = False) -> Option:
    """A non-empty list of items, of a given length, without repetition if `distinct`."""

    def accepts(value: Any) -> bool:
        if not isinstance(value, list) or not value or not all(item.accepts(element) for element in value):
            return False
        return (length is None or len(value) == length) and not (distinct and len(set(value)) < len(value))

    count = "a list" if length is None else f"a list of {length}"
    return Option(accepts, f"{count}{' without repetition' if distinct else ''}, each {item.expected}")


def mapping(item: Option) -> Option:
    """A non-empty mapping of names (letters, digits and underscores: they become file names) to items."""
    return Option(
        lambda value: (
            isinstance(value, dict)
            and bool(value)
            and all(
                isinstance(key, str) and key.isidentifier() and item.accepts(v) for key, v in value.items()
            )
        ),
        f"names of letters, digits and underscores, each with {item.expected}",
    )


def optional(item: Option) -> Option:
    """Nothing (null), or the item."""
    return Option(lambda value: value is None or item.accepts(value), f"null, or {item.expected}")


def power_of_three() -> Option:
    """1, 3, 9, ...: midpoint nodes that nest under tripling."""
    return Option(
        lambda value: _is_int(value) and value > 0 and 3 ** round(math.log(value, 3)) == value,
        "a power of three",
    )


def refusal(key: str, expected: str, got: Any) -> ConfigError:
    """The error for an option whose value is not allowed."""
    return ConfigError(
        f"The option {key!r} has a value that is not allowed.",
        expected=expected,
        got=repr(got),
        remedy="change it in conf/ or in the overrides",
    )


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
