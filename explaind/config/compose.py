"""Compose the configuration of one experiment at one scale from the files in `conf/`.

Hydra merges the groups; this module turns its errors into sentences and refuses what Hydra would accept in
silence (an option that is added rather than changed, a key that no one reads).
"""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, cast

from yaml import YAMLError

from explaind.config.validate import validate
from explaind.errors import ConfigError

__all__ = ["CONF", "compose", "compose_all", "experiments", "read_overrides"]

CONF = Path(__file__).resolve().parent.parent.parent / "conf"
#: Chosen by themselves, not by an override.
CHOSEN = ("experiment", "scale", "name", "hydra")


def experiments(conf: Path = CONF) -> list[str]:
    """Every experiment of `conf/experiment`, by its `order`."""
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    def place(path: Path) -> tuple[float, str]:
        try:
            order = OmegaConf.select(OmegaConf.load(path), "order")
        except (YAMLError, OmegaConfBaseException):
            order = None
        return order if isinstance(order, int) else math.inf, path.stem  # `compose` says what is wrong

    return [path.stem for path in sorted((conf / "experiment").glob("*.yaml"), key=place)]


def compose(
    experiment: str, scale: str = "default", overrides: str | Iterable[str] = (), *, conf: Path = CONF
) -> dict[str, Any]:
    """The resolved and validated configuration.

    Args:
        experiment: a file name in `conf/experiment/`, without suffix.
        scale: a file name in `conf/scale/<experiment>/`, without suffix.
        overrides: Hydra overrides of existing options, such as "train.max_steps=30" or "optimizer=adamw".
        conf: the folder of the configuration files.

    Returns:
        Nested dicts of plain values; `docs/options.md` lists the keys. `train.seed` is already written into
        `train.seeds`.

    Raises:
        ConfigError: an experiment, scale or option does not exist, or a value is missing, of the wrong type
            or out of range.
    """
    wanted = read_overrides(overrides)
    _choose("experiment", experiment, conf / "experiment")
    _choose("scale", scale, conf / "scale" / experiment)
    choice = [f"experiment={experiment}", f"scale={experiment}/{scale}"]
    for override in wanted:
        _check_override(override)
    config = _hydra(choice, wanted, conf)
    if config.get("name") != experiment:
        raise ConfigError(
            f"The experiment {experiment!r} has another name than its file.",
            expected=f"name: {experiment}",
            got=f"name: {config.get('name')}",
            remedy=f"Correct it in conf/experiment/{experiment}.yaml; the folder in explaind/experiments has the same name.",
        )
    if "seeds" in config["train"] and (seed := config["train"].get("seed")) is not None:
        config["train"]["seeds"] = [seed]
    validate(config)
    return config


def compose_all(
    names: Iterable[str] | None = None,
    scale: str = "default",
    overrides: str | Iterable[str] = (),
    *,
    conf: Path = CONF,
) -> dict[str, dict[str, Any]]:
    """The configuration of several experiments. An override reaches those that have the option; one of them must.

    Args:
        names: of the experiments; None: all, by their `order`.
        scale, overrides, conf: as of `compose`.

    Raises:
        ConfigError: as `compose`; an option that no experiment has is refused as it is for the first of them.
    """
    names, wanted = experiments(conf) if names is None else list(names), read_overrides(overrides)
    if not names:
        raise ConfigError(
            "No experiment is chosen.",
            expected=f"one or more of {', '.join(experiments(conf)) or 'the files in conf/experiment'}",
            got="none",
            remedy="Name them after experiment=, or leave that out for all; conf/ is a folder of the repository.",
        )
    if len(names) == 1:
        return {name: compose(name, scale, wanted, conf=conf) for name in names}
    plain = {name: compose(name, scale, conf=conf) for name in names}
    if not wanted:
        return plain
    meant: dict[str, list[str]] = {name: [] for name in names}
    for override in wanted:
        key = override.partition("=")[0]
        affected = [name for name in names if key in _known(plain[name])] or names
        for name in affected:
            meant[name].append(override)
    return {
        name: compose(name, scale, meant[name], conf=conf) if meant[name] else plain[name] for name in names
    }


def read_overrides(overrides: str | Iterable[str] | None) -> list[str]:
    """Overrides as a list: `--config overrides=a=b` arrives as a string, a quoted list as a list."""
    if overrides is None:
        return []
    if isinstance(overrides, str):
        return [overrides] if overrides.strip() else []
    return [str(override) for override in overrides]


def _hydra(choice: list[str], overrides: list[str], conf: Path) -> dict[str, Any]:
    # Imported here: Hydra takes 0.1 s, and slices and digests do without it.
    from hydra import compose as hydra_compose
    from hydra import initialize_config_dir
    from hydra.errors import HydraException
    from omegaconf import OmegaConf
    from omegaconf.errors import OmegaConfBaseException

    try:
        with initialize_config_dir(str(conf.resolve()), version_base=None):
            composed = hydra_compose("config", overrides=choice + overrides)
        return cast(dict[str, Any], OmegaConf.to_container(composed, resolve=True, throw_on_missing=True))
    except (HydraException, OmegaConfBaseException, YAMLError, ValueError) as error:
        if overrides:
            _explain_overrides(overrides, _hydra(choice, [], conf), conf)
        reason = " ".join(str(error).split())
        raise ConfigError(
            "The configuration cannot be composed.",
            got=reason,
            remedy="correct the override or the file named there",
        ) from error


def _choose(kind: str, name: str, folder: Path) -> None:
    known = sorted(path.stem for path in folder.glob("*.yaml"))
    if name not in known:
        raise ConfigError(
            f"There is no {kind} called {name!r}.",
            expected=f"one of {', '.join(known) or 'none: the folder is empty'}",
            got=repr(name),
            remedy=f"correct the name after {kind}=, or add the file {folder / str(name)}.yaml",
        )


def _check_override(override: str) -> None:
    key, equals, _ = override.partition("=")
    if not equals or not key or key[0] in "+~":
        raise ConfigError(
            f"The override {override!r} does not set an existing option.",
            expected="an override of the form group.option=value, without a leading + or ~",
            got=override,
            remedy="see the list of options in docs/options.md",
        )
    if re.split(r"[./@]", key)[0] in CHOSEN:
        raise ConfigError(
            f"The override {override!r} sets what is chosen outside of the overrides.",
            expected="an override of an option of the experiment",
            got=override,
            remedy="choose them by themselves: snakemake --config experiment=... scale=...",
        )


def _explain_overrides(overrides: list[str], base: dict[str, Any], conf: Path) -> None:
    """Name the override that asks for an option or a group file that does not exist."""
    options, known = list(_leaves(base)), _known(base)
    for override in overrides:
        key, _, value = override.partition("=")
        if (conf / key).is_dir():
            _choose(key, value, conf / key)
        elif key not in known:
            near = difflib.get_close_matches(key, options, n=3, cutoff=0.5) or [
                option for option in options if option.startswith(key.split(".")[0] + ".")
            ]
            raise ConfigError(
                f"There is no option {key!r}.",
                expected=f"one of {', '.join(near or options)}",
                got=override,
                remedy="correct the option's name; docs/options.md lists all of them",
            )


def _known(config: dict[str, Any]) -> set[str]:
    """Every option and every group of options, as dotted keys."""
    return {key.rsplit(".", depth)[0] for key in _leaves(config) for depth in range(key.count(".") + 1)}


def _leaves(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in config.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}"
