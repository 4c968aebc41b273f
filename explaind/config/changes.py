"""A configuration with a few options changed, as a study of other settings needs it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from copy import deepcopy
from typing import Any

import yaml

from explaind.errors import ConfigError

__all__ = ["changed"]


def changed(config: Mapping[str, Any], changes: Iterable[str], *, partial: bool = False) -> dict[str, Any]:
    """A copy of a resolved configuration in which options have other values.

    Args:
        config: nested; stays as it is.
        changes: texts such as "optimizer.weight_decay=1.0"; the value is YAML.
        partial: `config` is the part that a stage depends on; changes of other options, checked before, are left out.

    Raises:
        ConfigError: a change is no such text, or names an option that the configuration does not have.
    """
    result = deepcopy(dict(config))
    for change in changes:
        key, sign, value = change.partition("=")
        *parents, last = key.split(".")
        group: Any = result
        for parent in parents:
            group = group.get(parent) if isinstance(group, dict) else None
        if partial and not (isinstance(group, dict) and last in group):
            continue
        if not sign or not isinstance(group, dict) or last not in group:
            raise ConfigError(
                f"The change {change!r} names no option of this experiment.",
                expected="an option and its value, such as optimizer.weight_decay=1.0",
                got=repr(change),
                remedy="`explaind options` lists them.",
            )
        group[last] = yaml.safe_load(value)
    return result
