"""`validate` holds a configuration against its schema (`explaind.config.groups`)."""

from __future__ import annotations

from typing import Any

from explaind.config.groups import DATA, FIGURE, MODEL, OPTIMIZER, STUDY
from explaind.config.options import choice, refusal
from explaind.config.runs import CHECKPOINTS, EXECUTION, FROM_CHECKPOINTS, RECORDED
from explaind.config.together import check_together
from explaind.errors import ConfigError


def validate(config: dict[str, Any]) -> None:
    """Check every option's presence, type and range, and that the options fit together.

    Raises:
        ConfigError: names the first option that is missing, unknown or not allowed, with what would be.
    """
    experiment = str(config.get("name"))
    kind = CHECKPOINTS if experiment in FROM_CHECKPOINTS else RECORDED
    schema = {
        "name": choice(*STUDY),
        "scale": choice("smoke", "default", "paper"),
        **kind,
        "execution": EXECUTION,
    }
    for group, tables in (("data", DATA), ("model", MODEL), ("optimizer", OPTIMIZER)):
        name = config.get(group, {}).get("name")
        schema[group] = {"name": choice(*tables), **tables.get(name, {})}
    schema["study"] = STUDY.get(experiment, {})
    schema["figure"] = FIGURE.get(experiment, {})
    # Names first: a wrong name explains every option that does not fit it.
    for key in ("name", "data.name", "model.name", "optimizer.name"):
        _check_name(config, schema, key)
    _check_group(config, schema, "")
    check_together(config)


def _check_name(config: dict[str, Any], schema: dict[str, Any], key: str) -> None:
    group, _, _ = key.rpartition(".")
    value = (config.get(group, {}) if group else config).get("name")
    option = (schema[group] if group else schema)["name"]
    if not option.accepts(value):
        raise refusal(key, option.expected, value)


def _check_group(config: Any, schema: dict[str, Any], prefix: str) -> None:
    if not isinstance(config, dict):
        raise refusal(prefix.rstrip("."), f"a group of options: {', '.join(schema)}", config)
    for key in config:
        if key not in schema:
            raise ConfigError(
                f"The configuration has an unknown option {prefix + str(key)!r}.",
                expected=f"one of {', '.join(prefix + name for name in schema)}",
                got=prefix + str(key),
                remedy="correct its name, or describe the new option in explaind/config/groups.py",
            )
    for key, option in schema.items():
        if key not in config:
            raise ConfigError(f"The option {prefix + key!r} is missing.", remedy="set it in conf/")
        if isinstance(option, dict):
            _check_group(config[key], option, f"{prefix}{key}.")
        elif not option.accepts(config[key]):
            raise refusal(prefix + key, option.expected, config[key])
