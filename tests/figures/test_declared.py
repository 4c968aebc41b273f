"""Figures are what they declare: arguments, and nothing that needs their modules to be run."""

from __future__ import annotations

import importlib
import inspect

import pytest

from explaind.config.declarations import figures


@pytest.mark.parametrize("name", figures())
def test_a_figure_takes_what_it_declares(name: str) -> None:
    declared, module = figures()[name], importlib.import_module(f"explaind.figures.{name}")
    assert declared == module.FIGURE, "read from the source text or imported, it is the same"
    given = inspect.signature(module.draw).parameters
    required = {key for key, one in given.items() if one.default is one.empty}
    assert required == {"config", "stem", *declared.inputs} - set(declared.optional)
    assert all(one.kind is one.KEYWORD_ONLY for key, one in given.items() if key != "config")


def test_files_have_names_of_their_own() -> None:
    files = [one.file for one in figures().values()]
    assert len(set(files)) == len(files)
