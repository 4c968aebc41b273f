"""How much a job evaluates: the unit in which costs are scaled from one configuration to another.

The unit is the forward pass of one sample (a sequence, for language models) through the experiment's model. A gradient counts
three, a directional derivative two and a half. Only what the time grows with is counted: a measured rate takes in the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

__all__ = ["passes_of", "updates_of"]

Config = Mapping[str, Any]
Job = Mapping[str, str]

GRADIENT, TANGENT = 3.0, 2.5
STOPS = 0.6  # of `train.max_steps`, where a run ends at a stopping rule: mean of grokking's seeds
NODES = 1.7  # mean nodes of the adaptive quadrature (explaind.attribution.plan)
LAYERS = {"modular_transformer": 6, "mnist_cnn": 4, "resnet9": 9}


def passes_of(stage: str, config: Config, job: Job) -> float:
    """Forward passes of one sample in one job; 0 for stages whose time does not grow with the configuration."""
    return float(PASSES[stage](config, job)) if stage in PASSES else 0.0


def updates_of(config: Config) -> float:
    """Updates that a run is expected to have."""
    train = config["train"]
    return train["max_steps"] * (STOPS if train.get("stop_accuracy") is not None else 1.0)


def _batch(config: Config) -> int:
    return int(config["train"].get("batch") or config["data"]["train"])


def _training(config: Config, updates: float) -> float:
    evaluations = updates / config["train"]["evaluate_every"]
    return updates * GRADIENT * _batch(config) + evaluations * config["data"]["test"]


def _train(config: Config, job: Job) -> float:
    return _training(config, updates_of(config))


def _certify(config: Config, job: Job) -> float:
    return updates_of(config) * GRADIENT * _batch(config)


def _layers(config: Config) -> int:
    whole = config["influence"]["groups"] == "all"
    return 1 if whole else LAYERS.get(config["model"]["name"], 6)


def _forward(config: Config, updates: float, tests: float) -> float:
    """Signed influences by layer and term, all training samples summed."""
    return updates * tests * (1 + NODES * TANGENT * 2 * _layers(config))


def _influence(config: Config, job: Job) -> float:
    expected = updates_of(config)
    if expected < config["train"]["max_steps"]:
        start, stop = (min(int(job[name]), round(expected)) for name in ("start", "stop"))
    else:
        start, stop = int(job["start"]), int(job["stop"])
    return _forward(config, stop - start, int(job["tests_to"]) - int(job["tests_from"]))


def _quadrature(config: Config, job: Job) -> float:
    chosen = config["study"]["quadrature"]
    tests = dict(zip(map(str, chosen["nodes"]), chosen["tests"], strict=True))[job["nodes"]]
    return updates_of(config) * int(job["nodes"]) * tests * TANGENT


def _contraction(config: Config, updates: float, tests: float) -> float:
    """Rows of Φ for every output or its sum, and gradients of every training sample."""
    return updates * (NODES * GRADIENT * tests + GRADIENT * _batch(config))


def _window(config: Config, job: Job) -> float:
    kernel, width = config["study"]["kernel"], config["study"]["windows"]["width"]
    return _contraction(config, width, kernel["tests"])


def _outputs(config: Config, job: Job) -> float:
    chosen = config["study"]["outputs"]
    return _contraction(config, chosen["width"], chosen["kernel_tests"])


def _importances(config: Config, job: Job) -> float:
    chosen = config["study"]["outputs"]
    return 3 * _forward(config, updates_of(config) / chosen["stride"], chosen["tests"])


def _attribution(config: Config, job: Job) -> float:
    return _contraction(config, updates_of(config), config["study"]["attribution"]["tests"])


def _baseline(config: Config, job: Job) -> float:
    chosen = config["study"]["datamodel"]
    tests = config["study"]["attribution"]["tests"]
    return chosen["checkpoints"] * GRADIENT * (config["data"]["train"] + tests)


def _retrain(config: Config, job: Job) -> float:
    chosen = config["study"]["datamodel"]
    share = 1.0 if job["fraction"] == "leave-one-out" else float(job["fraction"])
    models = (int(job["stop"]) - int(job["start"])) * len(chosen["seeds"])
    return models * (
        share * GRADIENT * updates_of(config) * _batch(config) + config["study"]["attribution"]["tests"]
    )


def _pruning(config: Config, job: Job) -> float:
    chosen = config["study"]["pruning"]
    retrained = chosen["retraining"] * _batch(config) * GRADIENT * len(chosen["fractions"])
    scores = updates_of(config) * chosen["tests"] * GRADIENT * NODES * 10
    return retrained + scores + len(chosen["fractions"]) * len(chosen["methods"]) * config["data"]["test"]


def _sparse(config: Config, job: Job) -> float:
    chosen = config["study"]["sparse"]
    return _forward(config, updates_of(config), config["influence"]["tests"]) + chosen["orders"] * len(
        chosen["shares"]
    )


def _transplant(config: Config, job: Job) -> float:
    chosen = config["study"]["transplant"]
    return len(chosen["seeds"]) * _training(config, chosen["updates"])


def _swap(config: Config, job: Job) -> float:
    return updates_of(config) / config["study"]["swap"]["stride"] * 2 * config["data"]["test"]


def _intervention(config: Config, job: Job) -> float:
    chosen = config["study"]["proportionality"]
    singles = len(chosen["kinds"]) * (chosen["neurons"] + chosen["parameters"])
    trained = (chosen["retrained"] + chosen["sets"] * len(chosen["shares"])) * chosen["updates"]
    return singles * chosen["tests"] + trained * GRADIENT * _batch(config)


def _explain_run(config: Config, job: Job) -> float:
    reduced = dict(one.split("=") for one in config["study"]["runs"]["reduced"])
    tests = float(reduced.get("influence.tests", config["influence"]["tests"]))
    width = float(reduced.get("study.windows.width", config["study"]["windows"]["width"]))
    kernel = float(reduced.get("study.kernel.tests", config["study"]["kernel"]["tests"]))
    windows = len(config["study"]["windows"]["positions"])
    return (
        _train(config, job) + _certify(config, job) + _forward(config, updates_of(config), tests)
        + windows * _contraction(config, width, kernel)
    )  # fmt: skip


def _pretrain(config: Config, job: Job) -> float:
    train = config["train"]
    return float(train["steps"] * train["batch"] * GRADIENT)


def _update(config: Config, job: Job) -> float:
    """The batch's gradient, and that of the held-out loss at every node (3 at least, 7 as measured at default size)."""
    heldout = config["influence"]["heldout"] * len(config["data"]["languages"])
    return GRADIENT * (config["train"]["batch"] + 7 * heldout)


def _interval(config: Config, job: Job) -> float:
    train = config["train"]
    return train["steps"] / train["checkpoints"] * _update(config, job)


PASSES: dict[str, Callable[[Config, Job], float]] = {
    "train": _train, "record": _train, "certify": _certify, "influence": _influence, "quadrature": _quadrature,
    "window": _window, "outputs": _outputs, "importances": _importances, "attribution": _attribution,
    "baseline": _baseline, "retrain": _retrain, "pruning": _pruning, "sparse": _sparse, "transplant": _transplant,
    "swap": _swap, "intervention": _intervention, "explain_run": _explain_run, "pretrain": _pretrain,
    "explain_update": _update, "explain_languages": _update, "explain_interval": _interval,
}  # fmt: skip
