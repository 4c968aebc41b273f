"""Options changed in a composed configuration, and settings of runs that are checked before anything runs."""

from __future__ import annotations

import pytest

from explaind.config import compose
from explaind.config.changes import changed
from explaind.errors import ConfigError


def test_changes_are_made_in_a_copy() -> None:
    config = {"optimizer": {"lr": 0.1}, "study": {"kernel": {"tests": 5}}}
    result = changed(config, ["optimizer.lr=0.5", "study.kernel.tests=[1, 2]"])
    assert result == {"optimizer": {"lr": 0.5}, "study": {"kernel": {"tests": [1, 2]}}}
    assert config["optimizer"]["lr"] == 0.1


@pytest.mark.parametrize("change", ["optimizer.rate=1", "lr", "study=1", "optimizer.lr.x=1"])
def test_a_change_of_nothing_is_refused(change: str) -> None:
    with pytest.raises(ConfigError, match="names no option"):
        changed({"optimizer": {"lr": 0.1}}, [change])


def test_a_part_of_a_configuration_takes_the_changes_that_concern_it() -> None:
    assert changed({"data": {"test": 9}}, ["optimizer.lr=1", "data.test=3"], partial=True) == {
        "data": {"test": 3}
    }


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("study.runs.seeds=[1,2]", "at least 3 seeds, for an interval"),
        ('study.runs.settings.addition=["data.test=9"]', "the first setting is the experiment's own"),
        ('study.runs.settings.weak_decay=["data.operation=division"]', "one of addition, multiplication"),
        ('study.runs.settings.weak_decay=["data.colour=red"]', "names no option"),
        ('study.runs.reduced=["influence.tests=99999"]', "changes to another valid configuration"),
        ('study.runs.reduced=["data.modulus=112", "data.operation=multiplication"]', "a prime number"),
    ],
)
def test_settings_are_checked_before_anything_runs(override: str, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        compose("grokking", "default", override)
