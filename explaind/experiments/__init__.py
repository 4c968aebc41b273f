"""Experiments: the options, data, model and loss of each.

An experiment is one folder here (`explaind/experiments/<name>/`) and its files in `conf/`. In the folder, `options.py` says which
configurations are allowed, without torch, and `build.py` makes data and model of one. Nothing else knows either.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from explaind.errors import ConfigError

__all__ = ["part"]


def part(name: object, kind: str) -> ModuleType:
    """A module of an experiment's folder: its "options" or its "build".

    Raises:
        ConfigError: there is no such experiment, or it lacks the module.
    """
    folder = Path(__file__).parent / str(name)
    if not str(name).isidentifier() or not folder.is_dir():
        known = sorted(path.parent.name for path in Path(__file__).parent.glob("*/options.py"))
        raise ConfigError(
            f"There is no experiment called {name!r}.",
            expected=f"the name of a folder in explaind/experiments: {', '.join(known)}",
            got=repr(name),
            remedy="Choose an experiment that exists, or add its folder and its file in conf/experiment.",
        )
    if not (folder / f"{kind}.py").is_file():
        raise ConfigError(
            f"The experiment {name!r} lacks its {kind}.",
            expected=f"a file explaind/experiments/{name}/{kind}.py",
            got="none",
            remedy="Write it as in the other experiments.",
        )
    return importlib.import_module(f"{__name__}.{name}.{kind}")
