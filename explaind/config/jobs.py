"""How the work is divided: the jobs of every stage that runs more than once, as values of its rule's wildcards.

A stage's declaration names one of these functions with `each`. All jobs of a stage are read in this order.
The docstring says what there is one job for, in docs/cluster.md too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from explaind.config.checkpoints import checkpoint_names
from explaind.config.cuts import cut, ranges

__all__ = ["JOBS"]

Config = Mapping[str, Any]
Jobs = list[dict[str, str]]


def seeds(config: Config) -> Jobs:
    """each seed of the list"""
    return [{"seed": str(seed)} for seed in config["train"]["seeds"]]


def parts(config: Config) -> Jobs:
    """each range of updates and of test samples (`execution.parts`)"""
    # Up to the most that a run may have: a part beyond its end is valid and empty.
    steps, tests = cut(config)
    return [
        {**part, "tests_from": f"{first:06d}", "tests_to": f"{last:06d}"}
        for part in _ranges(config["train"]["max_steps"], steps)
        for first, last in ranges(config["influence"]["tests"], tests)
    ]


def windows(config: Config) -> Jobs:
    """each window of updates"""
    return [{"window": name} for name in config["study"]["windows"]["positions"]]


def interventions(config: Config) -> Jobs:
    """each window of interventions"""
    chosen = config["study"]["proportionality"]
    names = [*chosen["windows"], *(f"{start}_{stop}" for start, stop in chosen["ranges"])]
    return [{"window": name} for name in names]


def nodes(config: Config) -> Jobs:
    """each fixed number of nodes"""
    return [{"nodes": str(count)} for count in config["study"]["quadrature"]["nodes"]]


def splits(config: Config) -> Jobs:
    """each random split of the test set"""
    return [{"split": str(number)} for number in range(config["study"]["pruning"]["splits"])]


def methods(config: Config) -> Jobs:
    """each other method of data attribution"""
    chosen = config["study"]["datamodel"]["methods"]
    return [{"method": name} for name in chosen if name != "explaind"]


def subsets(config: Config) -> Jobs:
    """each fraction and range of `execution.retrain_subsets` subsets"""
    options, size = config["study"]["datamodel"], config["execution"]["retrain_subsets"]
    counts = {f"{fraction:g}": options["subsets"] for fraction in options["fractions"]}
    if options["leave_one_out"]:
        counts["leave-one-out"] = options["leave_one_out"]
    return [
        {"fraction": fraction, **part} for fraction, count in counts.items() for part in _ranges(count, size)
    ]


def checkpoints(config: Config) -> Jobs:
    """each checkpoint"""
    return _named(checkpoint_names(config))


def some_checkpoints(config: Config) -> Jobs:
    """every `study.languages.stride`-th checkpoint"""
    return _named(checkpoint_names(config)[:: config["study"]["languages"]["stride"]])


def intervals(config: Config) -> Jobs:
    """every `study.intervals.stride`-th checkpoint that has a next one"""
    return _named(checkpoint_names(config)[:-1][:: config["study"]["intervals"]["stride"]])


def acted_updates(config: Config) -> Jobs:
    """every `study.proportionality.stride`-th checkpoint"""
    return _named(checkpoint_names(config)[:: config["study"]["proportionality"]["stride"]])


def acted_intervals(config: Config) -> Jobs:
    """every `study.proportionality.interval_stride`-th checkpoint that has a next one"""
    return _named(checkpoint_names(config)[:-1][:: config["study"]["proportionality"]["interval_stride"]])


def runs(config: Config) -> Jobs:
    """each setting and seed of `study.runs`"""
    options = config["study"]["runs"]
    return [{"setting": name, "seed": str(seed)} for name in options["settings"] for seed in options["seeds"]]


def transplants(config: Config) -> Jobs:
    """each combination of layers and checkpoint of `study.transplant.checkpoints`"""
    plan = config["study"]["transplant"]["checkpoints"]
    return [
        {"combination": combination, "checkpoint": checkpoint}
        for combination, checkpoints in plan.items()
        for checkpoint in checkpoints
    ]


def _named(names: Sequence[str]) -> Jobs:
    return [{"checkpoint": name} for name in names]


def _ranges(count: int, size: int) -> Jobs:
    return [{"start": f"{start:06d}", "stop": f"{stop:06d}"} for start, stop in ranges(count, size)]


JOBS: dict[str, Callable[[Config], Jobs]] = {
    function.__name__: function
    for function in (
        seeds, parts, windows, nodes, methods, subsets, checkpoints, some_checkpoints, intervals, runs,
        splits, transplants, interventions, acted_updates, acted_intervals,
    )
}  # fmt: skip
