"""What jobs cost: declared rates, and what earlier runs measured instead.

A job costs its stage's fixed seconds (imports, opening stores, tracing the model) plus a rate for every forward pass of one
sample (`explaind.planning.passes`), all in CPU seconds of one core. The rates hold for the models at scale default and are scaled
with the operations of a forward pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

from explaind.planning.jobs import Job, read_record
from explaind.planning.passes import LAYERS, passes_of, updates_of

__all__ = ["GPU", "Cost", "costs_of", "declared"]

Config = Mapping[str, Any]

START = 1.0
"""CPU seconds of a job that does nothing, forked by `make figures` from a process that has the libraries. On a cluster, add 3."""
FIXED = {
    "explain_run": 20.0,
    "explain_update": 9.0,
    "explain_languages": 9.0,
    "interval_intervention": 25.0,
    "update_intervention": 13.0,
    "pretrain": 10.0,
    "tokens": 13.0,
    "frequencies": 3.0,
    "datamodel": 4.0,
    "figures and tables": 4.0,
}
"""CPU seconds of stages that trace models, fit or train a tokenizer whatever the size, measured at scale default."""
GPU = 40.0
"""Cores that one GPU is assumed to stand for: not measured."""

RATES: dict[str, dict[str, float]] = {
    "grokking": {
        "": 2.4e-6, "train": 2.4e-6, "record": 2.9e-6, "certify": 2.3e-6, "explain_run": 1.9e-6, "influence": 1.0e-6,
        "importances": 8.9e-6, "intervention": 8.2e-6, "outputs": 5.9e-4, "quadrature": 4.1e-6, "swap": 8.9e-6,
        "transplant": 1.6e-6, "window": 2.6e-4,
    },
    "mnist": {
        "": 2.0e-5, "record": 3.9e-5, "certify": 1.2e-6, "influence": 1.8e-5, "quadrature": 2.7e-5, "attribution": 1.0e-3,
        "baseline": 1.0e-4, "retrain": 1.7e-5, "pruning": 1.4e-5, "intervention": 3.4e-5,
    },
    "mnist_long": {
        "": 2.0e-5, "record": 1.3e-5, "certify": 2.0e-5, "sparse": 6.0e-6, "attribution": 2.6e-4, "baseline": 3.4e-5,
        "retrain": 9.0e-6,
    },
    "cifar2": {
        "": 4.5e-4, "record": 3.9e-4, "certify": 4.2e-4, "influence": 4.3e-4, "quadrature": 6.7e-4, "attribution": 1.4e-3,
        "baseline": 5.7e-4, "retrain": 3.8e-4,
    },
    "eurollm": {
        "": 7.0e-3, "pretrain": 1.8e-2, "explain_update": 5.8e-3, "explain_languages": 8.6e-3, "explain_interval": 6.8e-3,
    },
}  # fmt: skip
"""CPU seconds per pass: of stages that were measured at scale default, and ("") of the others, where it is an estimate."""

OPERATIONS: dict[str, Callable[[Mapping[str, Any], Config], float]] = {
    "modular_transformer": lambda m, c: m["d_model"] * (2 * m["d_model"] + 2 * m["hidden"] + c["data"]["modulus"]),
    "mnist_cnn": lambda m, c: m["channels"][0] * (9 * 784 + 9 * 196 * m["channels"][1]) + 49 * m["channels"][1] * m["hidden"],
    "resnet9": lambda m, c: m["width"] ** 2,
    "llama": lambda m, c: c["data"]["context"]
    * (m["layers"] * m["width"] * (4 * m["width"] + 3 * m["hidden"]) + m["width"] * m["vocabulary"]),
}  # fmt: skip
AT_DEFAULT = {
    "modular_transformer": 81_088.0,
    "mnist_cnn": 8 * (9 * 784 + 9 * 196 * 16) + 49.0 * 16 * 64,
    "resnet9": 256.0,
    "llama": 128.0 * (6 * 192 * (4 * 192 + 3 * 512) + 192 * 8192),
}
"""Of a forward pass of one sample, up to a factor that all sizes of a model share; and at scale default."""


@dataclass(frozen=True)
class Cost:
    """What a job is expected to cost.

    Attributes:
        seconds: CPU seconds.
        memory: peak, in MB.
        disk: MB that it writes.
        source: "measured" (the record of this very job), "scaled" (from records of the stage's other jobs here), "declared" (the
            rate was measured at scale default), "estimated" (it was not).
    """

    seconds: float
    memory: float
    disk: float
    source: str


def declared(stage: str, config: Config | None, wildcards: Mapping[str, str]) -> tuple[float, str]:
    """CPU seconds of a job from the declared rates, and "declared" or "estimated". Figures and tables have no configuration."""
    fixed = FIXED.get(stage, START)
    passes = passes_of(stage, config, wildcards) if config is not None else 0.0
    if config is None or not passes:
        return fixed, "declared"
    rates = RATES.get(config["name"], {"": 1e-4})
    model = config["model"]["name"]
    scale = OPERATIONS[model](config["model"], config) / AT_DEFAULT[model] if model in OPERATIONS else 1.0
    seconds = fixed + rates.get(stage, rates[""]) * scale * passes
    return seconds, "declared" if stage in rates or fixed > seconds / 2 else "estimated"


def costs_of(jobs: Sequence[Job], configs: Mapping[str, Config]) -> dict[int, Cost]:
    """The cost of every job, by its `id`: from its own record, else its stage's others, else as declared."""
    records = {id(job): read_record(job.record) for job in jobs}
    plain = {id(job): declared(job.stage, configs.get(job.experiment), job.wildcards) for job in jobs}
    factors: dict[tuple[str, str], list[tuple[float, float]]] = {}
    memories: dict[tuple[str, str], list[float]] = {}
    for job in jobs:
        if (record := records[id(job)]) is not None:
            factors.setdefault((job.experiment, job.stage), []).append((record[0], plain[id(job)][0]))
            memories.setdefault((job.experiment, job.stage), []).append(record[1])
    result = {}
    for job in jobs:
        key, record, (seconds, source) = (job.experiment, job.stage), records[id(job)], plain[id(job)]
        if record is not None:
            seconds, source = record[0], "measured"
        elif key in factors:
            seconds *= fmean(one for one, _ in factors[key]) / fmean(other for _, other in factors[key])
            source = "scaled"
        known = [memory for memory in memories.get(key, []) if memory == memory]
        disk = disk_of(job.stage, configs.get(job.experiment), job.wildcards)
        result[id(job)] = Cost(seconds, max(known) if known else float(job.memory), disk, source)
    return result


def disk_of(stage: str, config: Config | None, wildcards: Mapping[str, str]) -> float:
    """MB that a job writes, before compression."""
    if config is None or stage not in DISK:
        return 1.0
    return DISK[stage](config, wildcards) / 1e6


def _parameters(config: Config) -> float:
    model = config["model"]
    if model["name"] == "llama":
        per_layer = model["width"] * (3 * model["width"] + 3 * model["hidden"])
        return float(model["layers"] * per_layer + 2 * model["width"] * model["vocabulary"])
    return {"modular_transformer": 89_024.0, "mnist_cnn": 60_000.0}.get(
        model["name"], 2_271_168.0 * (model.get("width", 64) / 64) ** 2
    )


def _part(config: Config, wildcards: Mapping[str, str]) -> float:
    layers = 1 if config["influence"]["groups"] == "all" else LAYERS.get(config["model"]["name"], 6)
    tests = (
        int(wildcards["tests_to"]) - int(wildcards["tests_from"])
        if "tests_to" in wildcards
        else config["influence"]["tests"]
    )
    return 8.0 * 2 * layers * tests * _outputs(config)


def _outputs(config: Config) -> int:
    return int(config["data"].get("modulus", 0)) + 2 or len(config["data"].get("classes", range(10)))


DISK: dict[str, Callable[[Config, Mapping[str, str]], float]] = {
    "record": lambda c, w: (
        updates_of(c) * _parameters(c) * 4 * (2 if c["optimizer"]["name"] == "AdamW" else 1)
    ),
    "influence": _part,
    "accumulate": _part,
    "window": lambda c, w: (
        8.0 * 7 * c["study"]["kernel"]["tests"] * (c["data"]["train"] + c["study"]["kernel"]["tests"])
    ),
    "attribution": lambda c, w: 8.0 * c["data"]["train"] * c["study"]["attribution"]["tests"] * 10,
    "baseline": lambda c, w: 8.0 * c["data"]["train"] * c["study"]["attribution"]["tests"] * 10,
    "pretrain": lambda c, w: 12.0 * _parameters(c) * c["train"]["checkpoints"],
    "data": lambda c, w: 3e7,
}
