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
    truth,
)
from explaind.config.together import check_together, refusal
from explaind.errors import ConfigError

_accuracy = number(0, 1)
_positive = number(0, open_low=True)
#: Attribution methods of the data study; all but the first are dattri's.
METHODS = ("explaind", "trak", "tracin", "gradient_dot", "influence_function")
_count = integer(1)
_share = number(0, 1, open_low=True)


def _images(channels: int) -> dict[str, Any]:
    return {
        "source": {
            "dataset": choice("mnist", "cifar10"),
            "classes": optional(listing(integer(0), distinct=True)),
        },
        "train": _count,
        "test": _count,
        "heldout": integer(0),
        "mean": listing(number(0, 1), length=channels),
        "std": listing(_positive, length=channels),
    }


DATA: dict[str, dict[str, Any]] = {
    "modular_addition": {"modulus": integer(2), "train": _count, "test": _count},
    "mnist": _images(1),
    "cifar2": _images(3),
}
MODEL: dict[str, dict[str, Option]] = {
    "modular_transformer": {"d_model": _count, "heads": _count, "hidden": _count},
    "mnist_cnn": {"channels": listing(_count, length=2), "hidden": _count},
    "resnet9": {"width": _count},
}
OPTIMIZER: dict[str, dict[str, Option]] = {
    "AdamW": {
        "lr": _positive,
        "weight_decay": number(0),
        "betas": listing(number(0, 1, open_high=True), length=2),
        "eps": _positive,
    },
    "SGD": {"lr": _positive, "momentum": number(0, 1, open_high=True), "weight_decay": number(0)},
}
_quadrature = {"nodes": listing(_count, distinct=True), "tests": listing(_count)}
_attributed: dict[str, Any] = {
    "quadrature": _quadrature,
    "attribution": {
        "tests": _count,
        "tolerance": _positive,
        "max_nodes": power_of_three(),
        "tail_tolerance": number(0, 1, open_high=True),
    },
    "datamodel": {
        "fractions": listing(number(0, 1, open_low=True, open_high=True), distinct=True),
        "leave_one_out": integer(0),
        "subsets": integer(2),
        "seeds": listing(integer(0), distinct=True),
        "seed": integer(0),
        "methods": listing(choice(*METHODS), distinct=True),
        "projection": _count,
        "checkpoints": _count,
        "hessian_samples": _count,
        "eigenvectors": _count,
        "iterations": _count,
        "resamples": integer(2),
    },
    "examples": {"tests": _count, "top": _count},
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
        "quadrature": _quadrature,
        "periodicity": {"alpha": _positive, "periods": listing(integer(2), length=2)},
        "logits": {
            "module": text(),
            "stride": _count,
            "tests": _count,
            "tolerance": _positive,
            "max_nodes": power_of_three(),
        },
    },
    "mnist": _attributed,
    "mnist_long": {
        "sparse": {"shares": listing(_share, distinct=True), "orders": integer(2), "seed": integer(0)},
    },
    "cifar2": _attributed,
}
_dpi = {"dpi": integer(20, 1200)}
FIGURE: dict[str, dict[str, Option]] = {
    "grokking": {**_dpi, "regularization_stride": _count},
    "mnist": _dpi,
    "mnist_long": _dpi,
    "cifar2": _dpi,
}
COMMON: dict[str, Any] = {
    "train": {
        "seeds": listing(integer(0), distinct=True),
        "seed": optional(integer(0)),
        "max_steps": _count,
        "batch": optional(_count),
        "drop_last": truth(),
        "flip": choice("none", "horizontal"),
        "schedule": choice("constant", "triangular"),
        "peak_epoch": optional(_positive),
        "evaluate_every": _count,
        "stop_accuracy": optional(_accuracy),
        "memorized_accuracy": _accuracy,
        "generalized_accuracy": _accuracy,
        "threads": _count,
    },
    "select": {"fallback": choice("refuse", "best")},
    "verify": {"tolerance": _positive},
    "influence": {
        "tolerance": _positive,
        "max_nodes": power_of_three(),
        "tests": _count,
        "groups": choice("layer", "all"),
    },
    "execution": {"part_steps": _count, "chunk_steps": _count, "retrain_subsets": _count, "gpu": integer(0)},
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
                remedy="correct its name, or describe the new option in explaind/config/schema.py",
            )
    for key, option in schema.items():
        if key not in config:
            raise ConfigError(f"The option {prefix + key!r} is missing.", remedy="set it in conf/")
        if isinstance(option, dict):
            _check_group(config[key], option, f"{prefix}{key}.")
        elif not option.accepts(config[key]):
            raise refusal(prefix + key, option.expected, config[key])
