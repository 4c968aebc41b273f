"""Declarations made concrete: which experiments have which stages and products, and what their jobs depend on."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from explaind.config.declarations import Depends, Product, Source, Stage, Table, figures, stages, tables
from explaind.config.digest import source_digest
from explaind.config.jobs import JOBS
from explaind.config.slices import has, slice_config, slice_json, value_of
from explaind.errors import ConfigError

__all__ = [
    "Made",
    "available",
    "jobs_of",
    "made",
    "module_of",
    "origins",
    "product_settings",
    "reads_many",
    "settings",
    "source",
]  # fmt: skip

Config = Mapping[str, Any]


@dataclass(frozen=True)
class Made:
    """One figure or table that the workflow makes.

    Attributes:
        name: of the product, its module and its declaration.
        rule: of the workflow: the name, and the experiment where its file names it.
        files: of each of its outputs, the name without suffix; `output` is the main one, and a figure's only one.
        experiments: that it is made of; the first gives the options.
        product: the declaration.
    """

    name: str
    rule: str
    files: Mapping[str, str]
    experiments: tuple[str, ...]
    product: Product

    @property
    def file(self) -> str:
        """The name of its main file without suffix."""
        return self.files["output"]

    @property
    def label(self) -> str:
        """Of a figure in the report's list: its number, or the experiment where there is one of each."""
        several = "{experiment}" in self.product.file
        return self.experiments[0] if several else getattr(self.product, "label", self.name)


@dataclass(frozen=True)
class Origin:
    """Where an input comes from.

    Attributes:
        name: of a stage or table.
        output: of its rule.
        chosen: the jobs of the stage that are read; none: all of them.
        maker: its declaration.
    """

    name: str
    output: str
    chosen: tuple[str, ...]
    maker: Stage | Table


def available(declaration: Depends, config: Config) -> bool:
    """Does an experiment with this configuration have the stage or product: its own conditions, and all its inputs?"""
    requires = (declaration.requires,) if isinstance(declaration.requires, str) else declaration.requires
    if not all(any(has(config, key) for key in either.split(" | ")) for either in requires):
        return False
    if any(value_of(config, key) != value for key, value in declaration.when.items()):
        return False
    if not isinstance(declaration, Product):
        return True
    needed = (source for name, source in declaration.inputs.items() if name not in declaration.optional)
    return all(any(_gives(one, config) for one in origins(source)) for source in needed)


def _gives(origin: Origin, config: Config) -> bool:
    """Does an experiment have the stage or table, and the jobs that are read?"""
    if not available(origin.maker, config):
        return False
    if isinstance(origin.maker, Table) or origin.maker.each is None:
        return True
    return len(jobs_of(origin.name, config, *origin.chosen)) >= max(1, len(origin.chosen))


def made(products: Mapping[str, Product], configs: Mapping[str, Config]) -> list[Made]:
    """What is made of these products, in the order of the experiments.

    Raises:
        ConfigError: two of them would have the same file or rule.
    """
    result: dict[str, Made] = {}
    taken: dict[str, Made] = {}
    for experiment, config in configs.items():
        for name, product in products.items():
            if not available(product, config):
                continue
            files = _files(product, experiment, config["suffix"])
            file = files["output"]
            rule = name if file == product.file else f"{name}_{experiment}"
            first = result.get(file) if product.across else None
            experiments = (*first.experiments, experiment) if first else (experiment,)
            one = Made(name, rule, files, experiments, product)
            for key in (*(f"file {each!r}" for each in files.values()), f"rule {rule!r}"):
                other = taken.setdefault(key, one)
                if other.product is not product or (other is not one and not product.across):
                    raise ConfigError(
                        f"Two products would share the {key}.",
                        expected="another suffix of one experiment, or another file of one product",
                        got=f"{other.name} of {other.experiments[0]}, and {name} of {experiment}",
                        remedy=f"Set suffix in conf/experiment/{experiment}.yaml, or choose one of the experiments.",
                    )
            result[file] = one
    return list(result.values())


def _files(product: Product, experiment: str, suffix: str) -> dict[str, str]:
    """File names without suffix by output: with the experiment's name or suffix, unless all experiments share them."""
    names = {"output": product.file, **getattr(product, "also", {})}
    if product.across:
        return names
    return {
        output: name.format(experiment=experiment) if "{experiment}" in name else f"{name}{suffix}"
        for output, name in names.items()
    }


def jobs_of(stage: str, config: Config, *chosen: str) -> list[dict[str, str]]:
    """The wildcards of a stage's jobs in one experiment: all of them, or those whose (only) wildcard has a chosen value."""
    each = stages()[stage].each
    if each is None:
        return [{}]
    jobs = JOBS[each](config)
    return [job for name in chosen for job in jobs if name in job.values()] if chosen else jobs


def settings(config: Config, declaration: Depends, *, nodes: int | None = None) -> str:
    """The configuration that a job sees, as canonical JSON.

    Args:
        config: the composed configuration.
        declaration: of its stage or product.
        nodes: for the fixed-node baselines, the node count of one job: the others' test counts are left out.
    """
    part = slice_config(dict(config), *declaration.options, without=declaration.without)
    if nodes is not None:
        quadrature = part["study"]["quadrature"]
        tests = dict(zip(quadrature["nodes"], quadrature["tests"], strict=True))[nodes]
        part["study"] = {**part["study"], "quadrature": {**quadrature, "nodes": [nodes], "tests": [tests]}}
    return slice_json(part)


def module_of(rule: str) -> str:
    """The module that a stage or product runs."""
    packages: dict[str, Collection[str]] = {"figures": figures(), "tables": tables()}
    package = next((name for name, rules in packages.items() if rule in rules), None)
    return f"explaind.{package or stages()[rule].room}.{rule}"


def source(config: Config, rule: str) -> str:
    """Digest of the code that a stage or product runs for an experiment (see `source_digest`)."""
    # The rule of a table also checks its columns and makes a page of it.
    also = ("explaind.tables.columns", "explaind.tables.pages") if rule in tables() else ()
    return source_digest(module_of(rule), *also, experiment=config["name"])


def product_settings(one: Made, configs: Mapping[str, Config]) -> str:
    """The configuration that a figure or table sees, as canonical JSON; with titles where it puts several together."""
    config = configs[one.experiments[0]]
    part = slice_config(dict(config), *one.product.options, without=one.product.without)
    if one.product.across and part:
        part["titles"] = {name: configs[name]["title"] for name in one.experiments}
    return slice_json(part)


def origins(source: Source) -> list[Origin]:
    """What an input's declaration refers to.

    Raises:
        ConfigError: no stage and no table has this name.
    """
    if isinstance(source, list):
        return [origin for one in source for origin in origins(one)]
    text, chosen = (source, ()) if isinstance(source, str) else (source[0], tuple(source[1:]))
    name, _, output = text.partition(".")
    known: dict[str, Stage | Table] = {**stages(), **tables()}
    if name not in known:
        raise ConfigError(
            f"A figure or table reads {text!r}, which nothing makes.",
            expected=f"an output of one of {', '.join(known)}",
            got=text,
        )
    return [Origin(name, output or "output", chosen, known[name])]


def reads_many(product: Product, source: Source) -> bool:
    """Is the input a list of files: of several jobs, stages or experiments?"""
    maker = origins(source)[0].maker
    if isinstance(source, list):
        return True
    if isinstance(maker, Table):
        return product.across and not maker.across
    return product.across or maker.each is not None
