"""Slices of a configuration: the part a stage depends on, as canonical JSON.

A rule's `params` hold such a slice, so that Snakemake reruns a job exactly when a value it uses has changed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from copy import deepcopy
from typing import Any

from explaind.errors import ConfigError

__all__ = ["has", "slice_config", "slice_json", "value_of"]


def slice_config(config: dict[str, Any], *keys: str, without: Sequence[str] = ()) -> dict[str, Any]:
    """The part of `config` below `keys`, nested as in `config`.

    Args:
        config: a composed configuration.
        keys: dotted keys ("train.max_steps", or "data" for a whole group).
        without: dotted keys below them that are left out; those that `config` lacks are ignored.

    Raises:
        ConfigError: a key does not exist.
    """
    part: dict[str, Any] = {}
    for key in keys:
        *parents, last = key.split(".")
        source, target = config, part
        for parent in parents:
            source = _descend(source, parent, key)
            target = target.setdefault(parent, {})
        target[last] = deepcopy(_descend(source, last, key))
    for key in without:
        *parents, last = key.split(".")
        group: Any = part
        for parent in parents:
            group = group.get(parent, {})
        group.pop(last, None)
    return part


def value_of(config: Mapping[str, Any], key: str) -> Any:
    """The value of a dotted key, None if there is none."""
    group: Any = config
    for name in key.split("."):
        if not isinstance(group, Mapping) or name not in group:
            return None
        group = group[name]
    return group


def has(config: Mapping[str, Any], key: str) -> bool:
    """Is there a value, or a group of options, under this dotted key?"""
    return value_of(config, key) is not None


def slice_json(config: dict[str, Any], *keys: str) -> str:
    """`slice_config` as canonical JSON: sorted keys, no spaces, no NaN. Without keys, all of it."""
    part = slice_config(config, *keys) if keys else config
    return json.dumps(part, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _descend(group: Any, name: str, key: str) -> Any:
    if not isinstance(group, dict) or name not in group:
        present = ", ".join(group) if isinstance(group, dict) else repr(group)
        raise ConfigError(
            f"The configuration has no key {key!r}.", expected=f"a key called {name!r}", got=present
        )
    return group[name]
