"""Every option with its allowed values and its meaning: for `explaind options`, and as docs/options.md."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from explaind.config.compose import CONF, compose, experiments
from explaind.config.fields import describe_field
from explaind.config.group import Group, member, members
from explaind.config.recorded import Recorded
from explaind.config.validate import options_of

__all__ = ["Option", "listing", "page"]

#: Groups that end a list: what is configured comes before what is made of it.
LAST = ("study", "figure", "execution")

HEAD = """\
# Options

Every value that can change a number stands once in [`conf/`](../conf). An experiment is `conf/experiment/<name>.yaml`, which
picks a file of each group of choices and sets the rest; `conf/scale/<name>/<scale>.yaml` changes sizes. Overrides change single
values or choices:

    snakemake --cores 2 --config experiment=grokking 'overrides=["train.max_steps=30", "optimizer=sgd_momentum"]' -- figures

`explaind options grokking --scale smoke` lists one experiment's options with their values. "recorded" below are the experiments
that train under a recorder: {recorded}.

This page is made from the options' definitions by `make docs`.
"""


@dataclass(frozen=True)
class Option:
    """One option.

    Attributes:
        name: dotted.
        allowed: what it may be, as in "a number above 0".
        meaning: what it stands for, with its unit.
    """

    name: str
    allowed: str
    meaning: str


def listing(experiment: str, scale: str = "default", *, conf: Path = CONF) -> list[tuple[Option, Any]]:
    """Every option of an experiment and its value at a scale.

    Raises:
        ConfigError: there is no such experiment or scale.
    """
    config = compose(experiment, scale, conf=conf)
    return list(_walk(options_of(experiment), config))


def page(conf: Path = CONF) -> str:
    """docs/options.md: the options of all experiments, group by group."""
    names = experiments(conf)
    experiments_of: dict[Option, list[str]] = {}
    for name in names:
        for option in dict.fromkeys(option for option, _ in _walk(options_of(name), None)):
            experiments_of.setdefault(option, []).append(name)
    recorded = tuple(name for name in names if issubclass(options_of(name), Recorded))
    kinds = {recorded: "recorded", tuple(names): "all"}
    sections: dict[str, dict[str, list[Option]]] = {}
    for option in experiments_of:
        group = option.name.split(".")[0] if "." in option.name else ""
        sections.setdefault(group, {}).setdefault(option.name, []).append(option)
    lines = [HEAD.format(recorded=", ".join(recorded))]
    for group, options in sections.items():
        lines += [f"## {group or 'The experiment'}", ""]
        if files := sorted(path.stem for path in (conf / group).glob("*.yaml") if group):
            lines += [f"Files to choose from: {', '.join(f'`{group}={file}`' for file in files)}.", ""]
        lines += ["| option | meaning | allowed | experiments |", "|---|---|---|---|"]
        for option in (one for same in options.values() for one in same):
            where = kinds.get(tuple(experiments_of[option]), ", ".join(experiments_of[option]))
            meaning = option.meaning.replace("<", "&lt;")
            lines.append(f"| `{option.name}` | {meaning} | {option.allowed} | {where} |")
        lines.append("")
    return "\n".join(lines)


def _walk(group: type[Group], values: Any, prefix: str = "") -> Iterator[tuple[Option, Any]]:
    """Options of a group in the order of their declaration; without values, those of all groups that could be chosen."""
    for name, field in sorted(group.model_fields.items(), key=lambda item: item[0] in LAST):
        key, value, choices = prefix + name, None if values is None else values[name], members(field)
        if not choices:
            yield Option(key, describe_field(field), _meaning(group, name)), value
            continue
        chosen = choices.values() if values is None else filter(None, [member(field, value)])
        for inner in chosen:
            for option, setting in _walk(inner, value, f"{key}."):
                if option.name == f"{key}.name" and None not in choices:
                    option = replace(option, allowed=f"one of {', '.join(map(str, choices))}")
                yield option, setting


def _meaning(group: type[Group], name: str) -> str:
    """The description of an option: its own, or that of the group it narrows."""
    fields = (base.model_fields.get(name) for base in group.__mro__ if issubclass(base, Group))
    return next((field.description for field in fields if field and field.description), "")
