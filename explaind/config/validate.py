"""`validate` checks a configuration against the options of its experiment."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from explaind.config.fields import describe, describe_field
from explaind.config.folders import part
from explaind.config.group import Group, Wrong, member, members
from explaind.errors import ConfigError

__all__ = ["options_of", "validate"]


def options_of(experiment: object) -> type[Group]:
    """The options of an experiment: `Options` of its folder.

    Raises:
        ConfigError: there is no such experiment.
    """
    return part(experiment, "options").Options


def validate(config: dict[str, Any]) -> None:
    """Check every option's presence, type and range, and that the options fit together.

    Raises:
        ConfigError: names the first option that is missing, unknown or not allowed, with what would be.
    """
    name: Any = config.get("name")
    options = options_of(name)
    try:
        checked = options.model_validate(config)
    except ValidationError as error:
        raise _explain(error, options, config) from None
    for key, expected, got in _misfits(checked, checked):
        raise _refusal(key, expected, got)


def _misfits(group: Group, whole: Group) -> Iterator[Wrong]:
    yield from group.wrong(whole)
    for name in type(group).model_fields:
        inner = getattr(group, name)
        if isinstance(inner, Group):
            yield from _misfits(inner, whole)


def _explain(error: ValidationError, options: type[Group], config: dict[str, Any]) -> ConfigError:
    """The first mistake as a sentence. A wrong name comes first: it explains every option that does not fit it."""

    def rank(mistake: ErrorDetails) -> int:
        if mistake["loc"][-1:] == ("name",) or mistake["type"] == "union_tag_invalid":
            return 0
        order = {
            "extra_forbidden": 1,
            "missing": 2,
            "union_tag_not_found": 2,
        }  # a misspelt option is missing, too
        return order.get(mistake["type"], 3)

    first = min(error.errors(include_url=False, include_context=False), key=rank)  # of equals, the first
    return _sentence(first["type"], list(first["loc"]), options, config)


def _sentence(kind: str, loc: list[Any], group: type[Group], values: Any) -> ConfigError:
    """Follow the place of a mistake down to the option, past the names of chosen groups and items of lists."""
    path: list[str] = []
    while True:
        name, *loc = loc
        if name not in group.model_fields:
            return _unknown([*path, str(name)], group)
        path.append(str(name))
        key, field = ".".join(path), group.model_fields[name]
        if kind == "missing" and not loc:
            return ConfigError(f"The option {key!r} is missing.", remedy="Set it in conf/.")
        values = values[name]
        choices = members(field)
        if not choices:
            return _refusal(key, describe_field(field), values)
        if loc and loc[0] in choices:
            loc = loc[1:]
        inner = member(field, values)
        if inner is None or not loc:
            return _not_a_group(key, choices, inner, values)
        group = inner


def _unknown(path: list[str], group: type[Group]) -> ConfigError:
    *parents, _ = path
    return ConfigError(
        f"The configuration has an unknown option {'.'.join(path)!r}.",
        expected=f"one of {', '.join('.'.join([*parents, name]) for name in group.model_fields)}",
        got=".".join(path),
        remedy=f"Correct its name, or describe the new option in {group.__module__.replace('.', '/')}.py.",
    )


def _not_a_group(
    key: str, choices: dict[str | None, type[Group]], inner: type[Group] | None, values: Any
) -> ConfigError:
    if not isinstance(values, dict):
        return _refusal(key, describe(inner or next(iter(choices.values()))), values)
    if "name" not in values:
        return ConfigError(f"The option {key + '.name'!r} is missing.", remedy="Set it in conf/.")
    return _refusal(f"{key}.name", f"one of {', '.join(map(str, choices))}", values["name"])


def _refusal(key: str, expected: str, got: Any) -> ConfigError:
    """The error for an option whose value is not allowed."""
    return ConfigError(
        f"The option {key!r} has a value that is not allowed.",
        expected=expected,
        got=repr(got),
        remedy="change it in conf/ or in the overrides",
    )
