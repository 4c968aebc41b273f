"""Options that must fit together, after each has passed on its own."""

from __future__ import annotations

from typing import Any

from explaind.config.options import refusal
from explaind.config.pretraining import check_pretraining

__all__ = ["check_together"]


def check_together(config: dict[str, Any]) -> None:
    """Refuse options that exclude each other.

    Raises:
        ConfigError: names the first such option, and what it would have to be.
    """
    if "checkpoints" in config:
        check_pretraining(config)
        return
    _check_training(config)
    if config["data"]["name"] == "modular_addition":
        _check_addition(config)
    if "quadrature" in config["study"]:
        _check_quadrature(config)
    if "kernel" in config["study"]:
        _check_windows(config)
    if "datamodel" in config["study"]:
        _check_datamodel(config)
    if "sparse" in config["study"] and not config["data"].get("heldout"):
        raise refusal("data.heldout", "at least 1: the loss of held-out samples ranks the updates", 0)


def _check_training(config: dict[str, Any]) -> None:
    train, data = config["train"], config["data"]
    if train["batch"] is not None and train["batch"] > data["train"]:
        raise refusal(
            "train.batch", f"at most the {data['train']} samples of the training set", train["batch"]
        )
    if train["flip"] != "none" and train["batch"] is None:
        raise refusal(
            "train.flip", "none, when every step sees all samples (train.batch is null)", train["flip"]
        )
    if train["flip"] != "none" and data["name"] == "modular_addition":
        raise refusal(
            "train.flip", "none: only images have a mirror image that can be replayed", train["flip"]
        )
    if (train["schedule"] == "triangular") != (train["peak_epoch"] is not None):
        raise refusal(
            "train.peak_epoch",
            "the epoch of the highest rate with train.schedule=triangular, else null",
            train["peak_epoch"],
        )
    if config["influence"]["tests"] > data["test"]:
        raise refusal(
            "influence.tests", f"at most the {data['test']} test samples", config["influence"]["tests"]
        )


def _check_addition(config: dict[str, Any]) -> None:
    data, model = config["data"], config["model"]
    pairs = data["modulus"] * (data["modulus"] + 1) // 2
    if data["train"] + data["test"] > pairs:
        got = f"{data['train']} and {data['test']}"
        raise refusal("data.train and data.test", f"at most {pairs} disjoint samples for this modulus", got)
    if model["d_model"] % model["heads"]:
        raise refusal("model.d_model", f"a multiple of model.heads, {model['heads']}", model["d_model"])


def _check_quadrature(config: dict[str, Any]) -> None:
    nodes, tests = (config["study"]["quadrature"][key] for key in ("nodes", "tests"))
    limit = config["data"]["test"]
    if len(nodes) != len(tests) or max(tests) > limit:
        raise refusal("study.quadrature.tests", f"for each of nodes {nodes} at most {limit} tests", tests)


def _check_windows(config: dict[str, Any]) -> None:
    data, study = config["data"], config["study"]
    for key, limit in (("train", data["train"]), ("tests", data["test"])):
        if study["kernel"][key] > limit:
            raise refusal(
                f"study.kernel.{key}", f"at most the {limit} samples of the data set", study["kernel"][key]
            )
    windows = study["windows"]
    for name, start in windows["positions"].items():
        if start + windows["width"] > windows["reference_stop"]:
            stop = windows["reference_stop"]
            raise refusal(
                f"study.windows.positions.{name}", f"a window that ends by reference_stop {stop}", start
            )
    first, last = study["periodicity"]["periods"]
    if first > last:
        raise refusal("study.periodicity.periods", "the first period, then the last", [first, last])


def _check_datamodel(config: dict[str, Any]) -> None:
    data, study, train = config["data"], config["study"], config["train"]
    if study["attribution"]["tests"] > data["test"]:
        raise refusal(
            "study.attribution.tests",
            f"at most the {data['test']} test samples",
            study["attribution"]["tests"],
        )
    for fraction in study["datamodel"]["fractions"]:
        size = round(fraction * data["train"])
        if size < 1 or (train["drop_last"] and size < train["batch"]):
            least = train["batch"] if train["drop_last"] else 1
            raise refusal(
                "study.datamodel.fractions",
                f"shares of the training set that leave at least {least} samples",
                fraction,
            )
    if study["datamodel"]["leave_one_out"] > data["train"]:
        raise refusal(
            "study.datamodel.leave_one_out",
            f"at most the {data['train']} training samples",
            study["datamodel"]["leave_one_out"],
        )
    if study["examples"]["tests"] > study["attribution"]["tests"]:
        raise refusal(
            "study.examples.tests",
            f"at most study.attribution.tests, {study['attribution']['tests']}",
            study["examples"]["tests"],
        )
