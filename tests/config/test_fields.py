"""Kinds of options: what each accepts, and the sentence that says so."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Le, Len
from pydantic import ConfigDict, TypeAdapter, ValidationError

from explaind.config import fields
from explaind.config.fields import Distinct, Items, Pair, describe
from explaind.config.shared import Figure

STRICT = ConfigDict(strict=True, allow_inf_nan=False)  # as in every group of options
INFINITY, NOTHING = float("inf"), float("nan")

KINDS: list[tuple[Any, str, list[Any], list[Any]]] = [
    (int, "a whole number", [-1, 0], [1.0, True, "1", None]),
    (fields.Natural, "a whole number of at least 0", [0, 7], [-1, True, 0.0]),
    (fields.Count, "a whole number of at least 1", [1], [0, True, "many"]),
    (fields.Several, "a whole number of at least 2", [2], [1]),
    (fields.AtLeastFive, "a whole number of at least 5", [5], [4, True]),
    (fields.Resamples, "a whole number of at least 40", [40, 1000], [39]),
    (Annotated[int, Ge(20), Le(1200)], "a whole number from 20 to 1200", [20, 1200], [19, 1201]),
    (fields.PowerOfThree, "a power of three", [1, 3, 81], [0, -3, 80, 3.0, True]),
    (fields.NestedNodes, "one of 1, 3, 7", [1, 3, 7], [0, 5, 3.0, True]),
    (float, "a number", [1, -0.5], [True, INFINITY, NOTHING, "1"]),
    (fields.NotNegative, "a number of at least 0", [0, 0.5], [-1e-9, INFINITY]),
    (fields.Positive, "a number above 0", [1e-9, 3], [0, -1, INFINITY, NOTHING, True]),
    (fields.Accuracy, "a number of at least 0 and of at most 1", [0, 1, 0.5], [1.01, -0.01]),
    (fields.Share, "a number above 0 and of at most 1", [1, 0.1], [0, 1.1]),
    (fields.Part, "a number above 0 and below 1", [0.5], [0, 1]),
    (fields.Weight, "a number of at least 0 and below 1", [0, 0.999], [1]),
    (bool, "true or false", [True, False], [0, 1, "true", None]),
    (str, "a text", ["", "a"], [1, None]),
    (fields.Text, "a text that is not empty", ["a"], ["", 1, None]),
    (
        fields.Suffix,
        "a text of letters, digits and underscores; it may be empty",
        ["", "_a", "2"],
        ["a b", "/"],
    ),
    (Literal["refuse", "best"], "one of refuse, best", ["best"], ["last", None, 1]),
    (fields.Count | None, "null, or a whole number of at least 1", [None, 3], [0, "none"]),
    (Items[fields.Count], "a list, each a whole number of at least 1", [[1, 1]], [[], [0], 1, (1,)]),
    (fields.Seeds, "a list without repetition, each a whole number of at least 0", [[0, 1]], [[0, 0], []]),
    (fields.Names, "a list without repetition, each a text that is not empty", [["a"]], [["a", "a"], [""]]),
    (Distinct[Literal["a", "b"]], "a list without repetition, each one of a, b", [["b", "a"]], [["c"]]),
    (Pair[fields.Weight], "a list of 2, each a number of at least 0 and below 1", [[0, 0.9]], [[0], [0, 1]]),
    (
        Annotated[list[fields.Positive], Len(3, 3)],
        "a list of 3, each a number above 0",
        [[1, 2, 3.5]],
        [[1, 2], [1, 2, 0]],
    ),
    (
        fields.Starts,
        "names of letters, digits and underscores, each with a whole number of at least 0",
        [{"early": 0, "late_2": 7}],
        [{}, {"a b": 1}, {"": 1}, {1: 1}, {"early": -1}, ["early"]],
    ),
    (
        fields.ListsByName,
        "names of letters, digits and underscores, each with a list, each a text that is not empty",
        [{"all": ["one", "two"], "none": []}],
        [{}, {"a b": ["one"]}, {"all": "one"}, {"all": [1]}, {"all": [""]}, ["one"]],
    ),
    (Figure, "a group of options: dpi", [{"dpi": 200}], [{}, {"dpi": 200, "dpis": 1}, 200]),
]


@pytest.mark.parametrize(("kind", "words", "good", "bad"), KINDS, ids=[words for _, words, _, _ in KINDS])
def test_a_kind_says_what_it_accepts(kind: Any, words: str, good: list[Any], bad: list[Any]) -> None:
    assert describe(kind) == words
    adapter = TypeAdapter(kind) if kind is Figure else TypeAdapter(kind, config=STRICT)
    for value in good:
        adapter.validate_python(value)
    for value in bad:
        with pytest.raises(ValidationError):
            adapter.validate_python(value)


def test_every_kind_is_described_above() -> None:
    named = {name for name in fields.__all__ if name[0].isupper()} - {"Items", "Distinct", "Pair"}
    tested = [str(kind) for kind, *_ in KINDS]
    assert {name for name in named if str(getattr(fields, name)) not in tested} == set()


def test_a_kind_without_words_is_refused() -> None:
    with pytest.raises(TypeError, match="no description"):
        describe(complex)
