"""What the work is cut into: the jobs of every stage that runs more than once, as values of its rule's wildcards.

A stage's declaration names one of these functions with `each`. Whoever reads all of its jobs gets them in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from explaind.config.checkpoints import checkpoint_names

__all__ = ["JOBS"]

Config = Mapping[str, Any]
Jobs = list[dict[str, str]]


def seeds(config: Config) -> Jobs:
    """One training for each seed of the list."""
    return [{"seed": str(seed)} for seed in config["train"]["seeds"]]


def parts(config: Config) -> Jobs:
    """Ranges of updates, up to the most that a run may have: a part beyond its end is valid and empty."""
    return _ranges(config["train"]["max_steps"], config["execution"]["part_steps"])


def windows(config: Config) -> Jobs:
    """The windows of updates around the run's phases."""
    return [{"window": name} for name in config["study"]["windows"]["positions"]]


def nodes(config: Config) -> Jobs:
    """Fixed numbers of integration nodes."""
    return [{"nodes": str(count)} for count in config["study"]["quadrature"]["nodes"]]


def methods(config: Config) -> Jobs:
    """The other methods of data attribution."""
    chosen = config["study"]["datamodel"]["methods"]
    return [{"method": name} for name in chosen if name != "explaind"]


def subsets(config: Config) -> Jobs:
    """Ranges of the subsets of every fraction on which models are trained again."""
    options, size = config["study"]["datamodel"], config["execution"]["retrain_subsets"]
    counts = {f"{fraction:g}": options["subsets"] for fraction in options["fractions"]}
    if options["leave_one_out"]:
        counts["leave-one-out"] = options["leave_one_out"]
    return [
        {"fraction": fraction, **part} for fraction, count in counts.items() for part in _ranges(count, size)
    ]


def checkpoints(config: Config) -> Jobs:
    """Every checkpoint."""
    return _named(checkpoint_names(config))


def some_checkpoints(config: Config) -> Jobs:
    """The checkpoints whose influence is resolved by language."""
    return _named(checkpoint_names(config)[:: config["study"]["languages"]["stride"]])


def intervals(config: Config) -> Jobs:
    """The checkpoints from which every update up to the next one is explained."""
    return _named(checkpoint_names(config)[:-1][:: config["study"]["intervals"]["stride"]])


def _named(names: Sequence[str]) -> Jobs:
    return [{"checkpoint": name} for name in names]


def _ranges(count: int, size: int) -> Jobs:
    return [
        {"start": f"{start:06d}", "stop": f"{min(start + size, count):06d}"}
        for start in range(0, count, size)
    ]


JOBS: dict[str, Callable[[Config], Jobs]] = {
    function.__name__: function
    for function in (
        seeds, parts, windows, nodes, methods, subsets, checkpoints, some_checkpoints, intervals,
    )
}  # fmt: skip
