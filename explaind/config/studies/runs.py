"""The same explanation of several seeds and settings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from explaind.config.changes import changed
from explaind.config.fields import ListsByName, Seeds, Text
from explaind.config.group import Group, Wrong
from explaind.config.validate import validate
from explaind.errors import ConfigError

__all__ = ["Runs"]

LEAST_SEEDS = 3  # of an interval over seeds


class Runs(Group):
    """The same explanation of several seeds, in the experiment's own setting and in others."""

    seeds: Seeds = Field(description="of the runs in each setting")
    settings: ListsByName = Field(
        description="name of a setting → options that it changes, such as optimizer.weight_decay=1.0; the first changes none"
    )
    reduced: list[Text] = Field(
        description="options changed in all of these runs, so that explaining them costs less"
    )

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        if len(self.seeds) < LEAST_SEEDS:
            yield "study.runs.seeds", f"at least {LEAST_SEEDS} seeds, for an interval", self.seeds
        first, *_ = self.settings
        if self.settings[first]:
            expected = "no change: the first setting is the experiment's own"
            yield f"study.runs.settings.{first}", expected, self.settings[first]
        changes = {name: [*self.reduced, *own] for name, own in self.settings.items()}
        if not any(changes.values()):
            return
        plain = whole.model_dump()
        plain["study"]["runs"] |= {"settings": {first: []}, "reduced": []}
        try:
            validate(plain)
        except ConfigError:
            return  # what is wrong without any change is said where it stands
        for name, every in changes.items():
            try:
                validate(changed(plain, every))
            except ConfigError as error:
                expected = f"changes to another valid configuration: {error.problem} {error.expected or ''}"
                yield f"study.runs.settings.{name}", expected, every
