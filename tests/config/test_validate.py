"""Whole configurations against the options of their experiment: each mistake is named, and the values stay as they are."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest

from explaind.config import compose, experiments, validate
from explaind.config.group import Group, members
from explaind.config.listing import listing
from explaind.config.validate import options_of
from explaind.errors import ConfigError
from explaind.experiments.grokking.model import ModuloTransformer
from explaind.experiments.mnist.model import DigitNet


def _groups(group: type[Group]) -> list[type[Group]]:
    inner = [one for field in group.model_fields.values() for one in members(field).values()]
    return [group, *(deep for one in inner for deep in _groups(one))]


@pytest.fixture(scope="module")
def composed() -> dict[str, dict[str, Any]]:
    return {name: compose(name, "smoke") for name in ("grokking", "mnist", "eurollm")}


def remove(key: str) -> Callable[[dict[str, Any]], None]:
    *parents, last = key.split(".")

    def change(config: dict[str, Any]) -> None:
        for parent in parents:
            config = config[parent]
        del config[last]

    return change


@pytest.mark.parametrize(
    ("name", "change", "says"),
    [
        ("grokking", remove("train.max_steps"), "The option 'train.max_steps' is missing."),
        ("grokking", remove("title"), "The option 'title' is missing."),
        ("grokking", remove("study"), "The option 'study' is missing."),
        ("grokking", remove("optimizer.name"), "The option 'optimizer.name' is missing."),
        ("grokking", remove("optimizer.betas"), "The option 'optimizer.betas' is missing."),
        ("eurollm", remove("checkpoints.optimizer.format"), "'checkpoints.optimizer.format' is missing"),
        (
            "grokking",
            lambda config: config["train"].update(speed=3),
            "unknown option 'train.speed'. Expected: one of train.seeds, train.seed,",
        ),
        (
            "grokking",
            lambda config: config.update(speed=3),
            "unknown option 'speed'. Expected: one of name, title,",
        ),
        (
            "grokking",
            lambda config: config["study"].update(sparse={}),
            "describe the new option in explaind/experiments/grokking/options.py",
        ),
        (
            "grokking",
            lambda config: config["optimizer"].update(momentum=0.5),
            "unknown option 'optimizer.momentum'. Expected: one of optimizer.name, optimizer.lr,",
        ),
        ("grokking", lambda config: config.update(train=3), "Expected: a group of options: seeds, seed,"),
        (
            "grokking",
            lambda config: config.update(optimizer="AdamW"),
            "Expected: a group of options: name, lr,",
        ),
        ("grokking", lambda config: config["optimizer"].update(name="Adam"), "Expected: one of AdamW, SGD."),
        (
            "grokking",
            lambda config: config["data"].update(name="mnist"),
            "Expected: one of modular_arithmetic.",
        ),
        ("eurollm", lambda config: config["optimizer"].update(name="SGD"), "Expected: one of AdamW."),
        ("grokking", lambda config: config.update(order="first"), "Expected: a whole number. Got: 'first'"),
        (
            "grokking",
            lambda config: config.update(suffix="/x"),
            "Expected: a text of letters, digits and underscores",
        ),
        ("grokking", lambda config: config.update(name="grok"), "There is no experiment called 'grok'"),
        ("grokking", lambda config: config.update(name="images"), "There is no experiment called 'images'"),
        ("grokking", lambda config: config.update(name=None), "There is no experiment called None"),
        (
            "grokking",
            lambda config: config["study"]["windows"]["positions"].update({"a b": 1}),
            "'study.windows.positions' has a value that is not allowed. Expected: names of letters",
        ),
        ("eurollm", lambda config: config["data"].update(heldout=1), "'data.heldout' has a value"),
        *(
            (name, change, f"Expected: one of {modules}")
            for name, change, modules in (
                (
                    "grokking",
                    lambda config: config["study"]["outputs"].update(module="head"),
                    "embedding, linear1, linear2, decoder. Got: 'head'",
                ),
                (
                    "grokking",
                    lambda config: config["study"]["frequencies"].update(parameters=["decoders.0.weight"]),
                    "embedding, linear1, linear2, decoder. Got: 'decoders.0'",
                ),
                (
                    "mnist",
                    lambda config: config["study"]["proportionality"].update(units=["conv3"]),
                    "conv1, conv2, linear1, linear2. Got: 'conv3'",
                ),
            )
        ),
    ],
)
def test_mistakes(
    composed: dict[str, dict[str, Any]], name: str, change: Callable[[dict[str, Any]], None], says: str
) -> None:
    config = copy.deepcopy(composed[name])
    change(config)
    with pytest.raises(ConfigError) as caught:
        validate(config)
    assert says in str(caught.value) and "Remedy:" in str(caught.value)


def test_a_wrong_name_comes_before_what_follows_from_it(composed: dict[str, dict[str, Any]]) -> None:
    config = copy.deepcopy(composed["grokking"])
    config["model"] = {"name": "resnet9", "width": 16}
    with pytest.raises(ConfigError, match="The option 'model.name' has a value"):
        validate(config)


def test_values_stay_as_they_are(composed: dict[str, dict[str, Any]]) -> None:
    config = copy.deepcopy(composed["grokking"])
    config["optimizer"]["weight_decay"] = 1  # a whole number where any number may stand
    before = repr(config)
    validate(config)
    assert repr(config) == before


@pytest.mark.parametrize("name", experiments())
def test_every_option_says_what_it_means(name: str) -> None:
    silent = [option.name for option, _ in listing(name, "smoke") if not (option.meaning and option.allowed)]
    assert not silent
    assert all(group.__doc__ for group in _groups(options_of(name)))


def test_modules_that_options_may_name_are_modules() -> None:
    models = {
        "grokking": ModuloTransformer(tokens=9, width=4, heads=2, hidden=4),
        "mnist": DigitNet(channels=[2, 2], hidden=4),
    }
    for name, model in models.items():
        named = options_of(name).model_fields["model"].annotation.module_names
        assert named and set(named) <= set(dict(model.named_modules()))
