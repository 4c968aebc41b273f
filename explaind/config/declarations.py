"""What stages, figures and tables say of themselves, read without running them.

A module of `explaind/stages`, `studies`, `figures` or `tables` that a rule of the workflow runs assigns one `Stage`, `Figure` or
`Table` to the name `STAGE`, `FIGURE` or `TABLE`. Its arguments are plain literals, so that the workflow, the documentation and
the tests can read them from the source text: importing such a module would import torch or matplotlib.

The rule has the module's name. From the declarations are made: the rules of figures and tables, what each job depends on and asks
for, the captions of the report, results/README.md, docs/cluster.md's requests, and the check of every table's columns.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import TypeGuard, TypeVar, cast

from explaind.errors import ConfigError

__all__ = ["Figure", "Product", "Source", "Stage", "Table", "figures", "read", "stages", "tables"]

PACKAGE = Path(__file__).resolve().parent.parent

Source = str | tuple[str, ...] | list[str]
"""Where an input comes from: "stage" or "stage.output" (every job's, where the stage runs as several), ("stage", "a", "b") (the
jobs a and b alone), "stage.benchmark" (Snakemake's record of its jobs), or "table" or "table.output". A list puts the files of
several together, as far as an experiment has them."""


@dataclass(frozen=True, kw_only=True)
class Depends:
    """What a job depends on, besides its inputs and the code that it runs.

    Attributes:
        options: dotted options of the configuration, or groups of them: their changes rerun it.
        without: options among these that it does not read.
        requires: options or groups of options that an experiment must have, else it has no such job; of "a | b", one suffices.
        when: values that options must have as well.
    """

    options: tuple[str, ...] = ()
    without: tuple[str, ...] = ()
    requires: str | tuple[str, ...] = ()
    when: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Stage(Depends):
    """A step between the configuration and the results.

    Attributes:
        each: what there is one job of (a function of `explaind.config.jobs`); None: one job per experiment.
        threads: a number, or the option that holds it.
        memory: MB at the first attempt.
        runtime: minutes at most.
        gpu: does it profit from a GPU? Then it asks for `execution.gpu` of them.
        priority: of jobs that could start, those with the highest number do: what others wait for and what takes long goes first,
            so that no core is left alone with it at the end.
        note: for docs/cluster.md.
        room: the package that its module stands in.
    """

    each: str | None = None
    threads: int | str = 1
    memory: int
    runtime: int
    gpu: bool = False
    priority: int = 0
    note: str = ""
    room: str = "stages"


@dataclass(frozen=True, kw_only=True)
class Product(Depends):
    """A figure or a table.

    Attributes:
        file: its file name without suffix; "{experiment}" stands for the experiment's name.
        shows: one line, for the report's list.
        caption: for the report, in reStructuredText.
        inputs: argument of `draw` or `write` → where it comes from (`Source`).
        optional: inputs that an experiment may lack; they are left out then.
        across: one product of all experiments that are asked for and have its inputs, rather than one of each.
        memory, runtime: as of `Stage`.
    """

    file: str
    shows: str
    caption: str
    inputs: Mapping[str, Source]
    optional: tuple[str, ...] = ()
    across: bool = False
    memory: int = 2000
    runtime: int = 10


@dataclass(frozen=True, kw_only=True)
class Figure(Product):
    """A figure: `draw(config, *, <inputs>, stem)` writes `figures/<file>.pdf` and `.png`.

    Attributes:
        label: its number in the paper, or a short name.
        details: what results/README.md says beyond `shows`.
    """

    label: str
    details: str = ""


@dataclass(frozen=True, kw_only=True)
class Table(Product):
    """A table: `write([config,] *, <inputs>, output)` writes `tables/<file>.csv`; config only where there are `options`.

    Attributes:
        columns: name → (unit, meaning), in order. "{…}" in a name stands for any text.
        details: what results/README.md says above the columns.
        also: further outputs by argument name → their files.
        also_columns: their columns.
    """

    columns: Mapping[str, tuple[str, str]]
    details: str = ""
    also: Mapping[str, str] = field(default_factory=dict)
    also_columns: Mapping[str, Mapping[str, tuple[str, str]]] = field(default_factory=dict)


Declaration = TypeVar("Declaration", Stage, Figure, Table)


@cache
def stages() -> dict[str, Stage]:
    """Every stage by the name of its rule and module."""
    studies = {name: replace(stage, room="studies") for name, stage in read("studies", Stage).items()}
    return {**read("stages", Stage), **studies}


@cache
def figures() -> dict[str, Figure]:
    """Every figure by the name of its rule and module."""
    return read("figures", Figure)


@cache
def tables() -> dict[str, Table]:
    """Every table by the name of its rule and module."""
    return read("tables", Table)


def read(package: str, kind: type[Declaration]) -> dict[str, Declaration]:
    """Module name → declaration, of all modules of a package that have one.

    Args:
        package: a folder of `explaind`.
        kind: `Stage`, `Figure` or `Table`.

    Raises:
        ConfigError: a declaration has other arguments, or they are not literals.
    """
    name = kind.__name__
    declared = {}
    for path in sorted((PACKAGE / package).glob("*.py")):
        text = path.read_text(encoding="utf-8")
        if f"\n{name.upper()} = {name}(" in text:
            declared[path.stem] = _evaluate(path, text, kind)
        elif re.search(rf"^{name.upper()}\b *[:=]", text, re.MULTILINE):
            raise ConfigError(
                f"{path} does not declare its {name.lower()} properly.",
                expected=f"a line that begins with {name.upper()} = {name}(",
                got="another assignment to this name",
                remedy="Write it as in the other modules: it is read without running the module.",
            )
    return declared


def _evaluate(path: Path, text: str, kind: type[Declaration]) -> Declaration:
    for node in ast.parse(text, filename=str(path)).body:
        if declares(node, kind.__name__.upper()):
            try:
                keywords = cast(ast.Call, node.value).keywords
                arguments = {str(one.arg): ast.literal_eval(one.value) for one in keywords}
                return kind(**arguments)
            except (TypeError, ValueError) as error:
                raise ConfigError(
                    f"{path} does not declare its {kind.__name__.lower()} properly.",
                    expected=f"{kind.__name__}(…) with keyword arguments that are literals",
                    got=str(error),
                    remedy="See explaind/config/declarations.py for the arguments.",
                ) from error
    raise AssertionError(f"no declaration in {path}")


def declares(node: ast.AST, *names: str) -> TypeGuard[ast.Assign]:
    """Is this statement the assignment of a declaration to one of these names?"""
    return (
        isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Call)
        and len(node.targets) == 1
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value.func, ast.Name)
        and node.targets[0].id == node.value.func.id.upper()
        and node.targets[0].id in (names or ("STAGE", "FIGURE", "TABLE"))
    )
