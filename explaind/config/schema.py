"""The schema of the configuration as data, and `validate`, which holds a configuration against it.

A group whose options depend on a choice (`data`, `model`, `optimizer` by their `name`; `study` and `figure`
by the experiment) has one table per choice: a new data set, model, optimizer or experiment adds an entry and
changes nothing else.
"""

from __future__ import annotations

from typing import Any

from explaind.config.options import (
    Option,
    choice,
    integer,
    listing,
    mapping,
    number,
    optional,
    power_of_three,
    text,
)
from explaind.errors import ConfigError

_accuracy = number(0, 1)
_positive = number(0, open_low=True)
_count = integer(1)

DATA: dict[str, dict[str, Option]] = {
    "modular_addition": {"modulus": integer(2), "train": _count, "test": _count},
}
MODEL: dict[str, dict[str, Option]] = {
    "modular_transformer": {"d_model": _count, "heads": _count, "hidden": _count},
}
OPTIMIZER: dict[str, dict[str, Option]] = {
    "AdamW": {
        "lr": _positive,
        "weight_decay": number(0),
        "betas": listing(number(0, 1, open_high=True), length=2),
        "eps": _positive,
    },
}
STUDY: dict[str, dict[str, Any]] = {
    "grokking": {
        "windows": {"positions": mapping(integer(0)), "width": _count, "reference_stop": _count},
        "kernel": {
            "train": _count,
            "tests": integer(2),
            "tolerance": _positive,
            "max_nodes": power_of_three(),
            "tail_tolerance": number(0, 1, open_high=True),
        },
        "quadrature": {"nodes": listing(_count, distinct=True), "tests": listing(_count)},
        "periodicity": {"alpha": _positive, "periods": listing(integer(2), length=2)},
        "logits": {
            "module": text(),
            "stride": _count,
            "tests": _count,
            "tolerance": _positive,
            "max_nodes": power_of_three(),
        },
    },
}
FIGURE: dict[str, dict[str, Option]] = {
    "grokking": {"dpi": integer(20, 1200), "regularization_stride": _count}
}
COMMON: dict[str, Any] = {
    "train": {
        "seeds": listing(integer(0), distinct=True),
        "seed": optional(integer(0)),
        "max_steps": _count,
        "stop_accuracy": _accuracy,
        "memorized_accuracy": _accuracy,
        "generalized_accuracy": _accuracy,
        "threads": _count,
    },
    "select": {"fallback": choice("refuse", "best")},
    "verify": {"tolerance": _positive},
    "influence": {"tolerance": _positive, "max_nodes": power_of_three()},
    "execution": {"part_steps": _count, "chunk_steps": _count},
}


def validate(config: dict[str, Any]) -> None:
    """Check every option's presence, type and range, and that the options fit together.

    Raises:
        ConfigError: names the first option that is missing, unknown or not allowed, with what would be.
    """
    experiment = config.get("name")
    schema = {"name": choice(*STUDY), "scale": choice("smoke", "default", "paper"), **COMMON}
    for group, tables in (("data", DATA), ("model", MODEL), ("optimizer", OPTIMIZER)):
        name = config.get(group, {}).get("name")
        schema[group] = {"name": choice(*tables), **tables.get(name, {})}
    schema["study"] = STUDY.get(experiment, {})
    schema["figure"] = FIGURE.get(experiment, {})
    # Names first: a wrong name explains every option that does not fit it.
    for key in ("name", "data.name", "model.name", "optimizer.name"):
        _check_name(config, schema, key)
    _check_group(config, schema, "")
    _check_together(config)


def _check_name(config: dict[str, Any], schema: dict[str, Any], key: str) -> None:
    group, _, _ = key.rpartition(".")
    value = (config.get(group, {}) if group else config).get("name")
    option = (schema[group] if group else schema)["name"]
    if not option.accepts(value):
        raise _refusal(key, option.expected, value)


def _check_group(config: Any, schema: dict[str, Any], prefix: str) -> None:
    if not isinstance(config, dict):
        raise _refusal(prefix.rstrip("."), f"a group of options: {', '.join(schema)}", config)
    for key in config:
        if key not in schema:
            raise ConfigError(
                f"The configuration has an unknown option {prefix + str(key)!r}.",
                expected=f"one of {', '.join(prefix + name for name in schema)}",
                got=prefix + str(key),
                remedy="correct its name, or describe the new option in explaind/config/schema.py",
            )
    for key, option in schema.items():
        if key not in config:
            raise ConfigError(f"The option {prefix + key!r} is missing.", remedy="set it in conf/")
        if isinstance(option, dict):
            _check_group(config[key], option, f"{prefix}{key}.")
        elif not option.accepts(config[key]):
            raise _refusal(prefix + key, option.expected, config[key])


def _check_together(config: dict[str, Any]) -> None:
    data, model, study = config["data"], config["model"], config["study"]
    pairs = data["modulus"] * (data["modulus"] + 1) // 2
    if data["train"] + data["test"] > pairs:
        got = f"{data['train']} and {data['test']}"
        raise _refusal("data.train and data.test", f"at most {pairs} disjoint samples for this modulus", got)
    if model["d_model"] % model["heads"]:
        raise _refusal("model.d_model", f"a multiple of model.heads, {model['heads']}", model["d_model"])
    for key, limit in (("train", data["train"]), ("tests", data["test"])):
        if study["kernel"][key] > limit:
            raise _refusal(
                f"study.kernel.{key}", f"at most the {limit} samples of the data set", study["kernel"][key]
            )
    nodes, tests = study["quadrature"]["nodes"], study["quadrature"]["tests"]
    if len(nodes) != len(tests) or max(tests) > data["test"]:
        raise _refusal(
            "study.quadrature.tests", f"for each of nodes {nodes} at most {data['test']} tests", tests
        )
    windows = study["windows"]
    for name, start in windows["positions"].items():
        if start + windows["width"] > windows["reference_stop"]:
            stop = windows["reference_stop"]
            raise _refusal(
                f"study.windows.positions.{name}", f"a window that ends by reference_stop {stop}", start
            )
    first, last = study["periodicity"]["periods"]
    if first > last:
        raise _refusal("study.periodicity.periods", "the first period, then the last", [first, last])


def _refusal(key: str, expected: str, got: Any) -> ConfigError:
    return ConfigError(
        f"The option {key!r} has a value that is not allowed.",
        expected=expected,
        got=repr(got),
        remedy="change it in conf/ or in the overrides",
    )
