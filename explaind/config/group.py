"""Groups of options: strict models whose cross-checks are their own."""

from __future__ import annotations

from collections.abc import Iterator
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

__all__ = ["Group", "Wrong", "member", "members"]

Wrong = tuple[str, str, Any]
"""An option that does not fit the others: its dotted name, what it would have to be, what it is."""


class Group(BaseModel):
    """Options that belong together; no others may stand here. true is no number, 1.0 no whole number, infinity no value."""

    # Deferred: the experiment that holds all groups builds one validator for them, none of them needs its own.
    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        frozen=True,
        defer_build=True,
        protected_namespaces=(),
    )

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        """Options of this group that do not fit each other, or the rest.

        Args:
            whole: the experiment's configuration; every option has passed on its own.
        """
        yield from ()


def members(field: FieldInfo) -> dict[str | None, type[Group]]:
    """The groups that a field can hold: by name where `name` chooses, {None: group} where there is one, {} for an option."""
    kind = field.annotation
    if get_origin(kind) in (Union, UnionType) and NoneType in get_args(kind):  # a group or null
        kind = next(one for one in get_args(kind) if one is not NoneType)
    if get_origin(kind) in (Union, UnionType) and field.discriminator:
        groups = get_args(kind)
        return {get_args(group.model_fields["name"].annotation)[0]: group for group in groups}
    return {None: kind} if isinstance(kind, type) and issubclass(kind, Group) else {}


def member(field: FieldInfo, values: Any) -> type[Group] | None:
    """The group that a field holds for these values."""
    groups = members(field)
    return groups.get(None) or groups.get(str(values.get("name")) if isinstance(values, dict) else None)
