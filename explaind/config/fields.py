"""Kinds of options: annotated types, and the sentence that says what each allows."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, TypeVar, Union, get_args, get_origin

from annotated_types import Ge, Gt, Le, Len, Lt, MinLen
from pydantic import BaseModel, GetCoreSchemaHandler
from pydantic.fields import FieldInfo
from pydantic_core import CoreSchema, core_schema

__all__ = [
    "Accuracy",
    "AtLeastFive",
    "Count",
    "Distinct",
    "Items",
    "ListsByName",
    "Names",
    "Natural",
    "NestedNodes",
    "NotNegative",
    "Pair",
    "Part",
    "Positive",
    "PowerOfThree",
    "Resamples",
    "Seeds",
    "Several",
    "Share",
    "Starts",
    "Suffix",
    "Text",
    "Weight",
    "describe",
    "describe_field",
]


@dataclass(frozen=True)
class Condition:
    """A further condition on a value of the right type.

    Attributes:
        passes: value → is it allowed?
        words: what is allowed. They take the place of the type's own words, or, beginning with a blank, follow "a list".
    """

    passes: Callable[[Any], bool]
    words: str

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self._check, handler(source))

    def _check(self, value: Any) -> Any:
        if not self.passes(value):
            raise ValueError(self.words)
        return value


def _is_power_of_three(value: int) -> bool:
    return value > 0 and 3 ** round(math.log(value, 3)) == value


T = TypeVar("T")
_once = Condition(lambda items: len(set(items)) == len(items), " without repetition")
_identifier = Condition(str.isidentifier, "a name of letters, digits and underscores")

Natural = Annotated[int, Ge(0)]
Count = Annotated[int, Ge(1)]
Several = Annotated[int, Ge(2)]
AtLeastFive = Annotated[int, Ge(5)]  # points that an interval of a correlation needs
Resamples = Annotated[int, Ge(40)]  # the outermost of 40 lie at 2.5 and 97.5 %
PowerOfThree = Annotated[
    int, Condition(_is_power_of_three, "a power of three")
]  # midpoint nodes nest under tripling
NestedNodes = Annotated[int, Condition(lambda value: value in (1, 3, 7), "one of 1, 3, 7")]
NotNegative = Annotated[float, Ge(0)]
Positive = Annotated[float, Gt(0)]
Accuracy = Annotated[float, Ge(0), Le(1)]
Share = Annotated[float, Gt(0), Le(1)]
Part = Annotated[float, Gt(0), Lt(1)]
Weight = Annotated[float, Ge(0), Lt(1)]
Text = Annotated[str, MinLen(1)]
# An experiment's suffix ends file names; the workflow reads them back.
Suffix = Annotated[
    str,
    Condition(
        lambda text: ("x" + text).isidentifier(), "a text of letters, digits and underscores; it may be empty"
    ),
]
Items = Annotated[list[T], MinLen(1)]
Distinct = Annotated[list[T], MinLen(1), _once]
Pair = Annotated[list[T], Len(2, 2)]
Names = Distinct[Text]
Seeds = Distinct[Natural]
ListsByName = Annotated[dict[Annotated[str, _identifier], list[Text]], MinLen(1)]
Starts = Annotated[dict[Annotated[str, _identifier], Natural], MinLen(1)]  # the names become file names


def describe_field(field: FieldInfo) -> str:
    """What an option allows, as in "a number above 0 and below 1"."""
    return describe(Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation)


def describe(annotation: Any) -> str:
    """What an annotated type allows.

    Args:
        annotation: of this module's kinds: whole numbers, numbers, texts, truth values, literals, lists, names with values,
            groups of options; and each of them or null.

    Raises:
        TypeError: it is of another kind.
    """
    kind, notes = annotation, list[Any]()
    if get_origin(annotation) is Annotated:
        kind, *notes = get_args(annotation)
    own = next((note.words for note in notes if isinstance(note, Condition) and note.words[0] != " "), None)
    if own:
        return own
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType) and NoneType in arguments:
        (rest,) = (argument for argument in arguments if argument is not NoneType)
        return f"null, or {describe(rest)}"
    if origin is Literal:
        return f"one of {', '.join(map(str, arguments))}"
    if origin is list:
        return f"a list{_length(notes)}, each {describe(arguments[0])}"
    if origin is dict:
        return f"names of letters, digits and underscores, each with {describe(arguments[1])}"
    if isinstance(origin, type) and issubclass(origin, BaseModel):
        return f"a group of options: {', '.join(origin.model_fields)}"
    if origin is int:
        return f"a whole number{_whole(notes)}"
    if origin is float:
        return f"a number{_between(notes)}"
    known = {bool: "true or false", str: "a text"}
    if origin not in known:
        raise TypeError(f"{annotation!r} has no description.")
    return known[origin] + (" that is not empty" if notes else "")


def _length(notes: list[Any]) -> str:
    lengths = [f" of {note.min_length}" for note in notes if isinstance(note, Len)]
    return "".join(lengths + [note.words for note in notes if isinstance(note, Condition)])


def _whole(notes: list[Any]) -> str:
    low = next((note.ge for note in notes if isinstance(note, Ge)), None)
    high = next((note.le for note in notes if isinstance(note, Le)), None)
    if low is None:
        return ""
    return f" of at least {low}" if high is None else f" from {low} to {high}"


def _between(notes: list[Any]) -> str:
    words = {
        Gt: lambda note: f"above {note.gt:g}",
        Ge: lambda note: f"of at least {note.ge:g}",
        Lt: lambda note: f"below {note.lt:g}",
        Le: lambda note: f"of at most {note.le:g}",
    }
    limits = " and ".join(words[type(note)](note) for note in notes if type(note) in words)
    return f" {limits}" if limits else ""
