"""`explaind options`: what can be configured, and how it is configured now."""

from __future__ import annotations

import argparse
import json

__all__ = ["add_options", "print_options"]

TEXT = (
    "Every option of an experiment of the workflow: its value at a scale, what it may be, and what it means."
)


def add_options(commands: argparse._SubParsersAction) -> None:
    """The command's arguments."""
    parser = commands.add_parser("options", help=TEXT, description=TEXT)
    parser.add_argument(
        "experiment", nargs="?", metavar="EXPERIMENT", help="its name; without it, a list of experiments"
    )
    parser.add_argument("--scale", default="default", help="of the experiment's sizes (default)")


def print_options(experiment: str | None, scale: str) -> None:
    """A table on a terminal; elsewhere lines of columns that are separated by tabs.

    Raises:
        ConfigError: there is no such experiment or scale.
    """
    from explaind.config import compose_all
    from explaind.config.listing import listing

    if experiment is None:
        columns = ("experiment", "title", "optimizer")
        configs = compose_all(scale=scale).items()
        rows = [(name, config["title"], config["optimizer"]["name"]) for name, config in configs]
    else:
        columns = ("option", "value", "allowed", "meaning")
        rows = [
            (option.name, json.dumps(value, ensure_ascii=False), option.allowed, option.meaning)
            for option, value in listing(experiment, scale)
        ]
    _print(columns, rows)


def _print(columns: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    console = Console()
    if not console.is_terminal:
        print("\n".join("\t".join(row) for row in [columns, *rows]))
        return
    table = Table(*columns)
    for row in rows:
        table.add_row(*map(escape, row))
    console.print(table)
