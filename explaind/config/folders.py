"""Where an experiment's modules are: `explaind/experiments/<name>/`. They are found by name, so that nobody lists them."""

from __future__ import annotations

import importlib
from pathlib import Path
from types import ModuleType

from explaind.errors import ConfigError

__all__ = ["part"]

EXPERIMENTS = Path(__file__).resolve().parent.parent / "experiments"


def part(name: object, kind: str) -> ModuleType:
    """A module of an experiment's folder: its "options" or its "build".

    Raises:
        ConfigError: there is no such experiment, or it lacks the module.
    """
    folder = EXPERIMENTS / str(name)
    if not str(name).isidentifier() or not folder.is_dir():
        known = sorted(path.parent.name for path in EXPERIMENTS.glob("*/options.py"))
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
    return importlib.import_module(f"explaind.experiments.{name}.{kind}")
