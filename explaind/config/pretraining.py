"""Options of pretraining and of checkpoints that must fit together."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from explaind.config.options import refusal

__all__ = ["check_pretraining"]


def check_pretraining(config: dict[str, Any]) -> None:
    """Refuse options that exclude each other.

    Raises:
        ConfigError: names the first such option, and what it would have to be.
    """
    for key, expected, got in _wrong(config):
        raise refusal(key, expected, got)


def _wrong(config: dict[str, Any]) -> Iterator[tuple[str, str, Any]]:
    """(option, what it would have to be, what it is) of each that does not fit."""
    data, model, train, chosen = config["data"], config["model"], config["train"], config["checkpoints"]
    if data["tokenizer"]["vocabulary"] > model["vocabulary"]:
        yield (
            "data.tokenizer.vocabulary",
            f"at most model.vocabulary, {model['vocabulary']}",
            data["tokenizer"]["vocabulary"],
        )
    if data["tokenizer"]["kind"] == "file" and data["tokenizer"]["file"] is None:
        yield "data.tokenizer.file", "the path of a tokenizer.json with data.tokenizer.kind=file", None
    tokenizer = data["tokenizer"]
    if tokenizer["kind"] == "hub" and tokenizer["repository"] is None:
        yield "data.tokenizer.repository", "a repository on the hub with data.tokenizer.kind=hub", None
    if tokenizer["kind"] == "train" and chosen["source"] != "trained":
        yield (
            "data.tokenizer.kind",
            "file or hub: the checkpoints' own tokenizer, as ids mean other tokens in a new one",
            "train",
        )
    kind = data["source"]["kind"]
    needed = {"folder": "folder", "huggingface": "dataset"}.get(kind)
    if needed and data["source"][needed] is None:
        yield f"data.source.{needed}", f"a text with data.source.kind={kind}", None
    if model["width"] % model["heads"] or model["width"] // model["heads"] % 2:
        yield (
            "model.width",
            f"an even multiple of model.heads, {model['heads']}: positions rotate pairs",
            model["width"],
        )
    if model["heads"] % model["key_value_heads"]:
        yield (
            "model.heads",
            f"a multiple of model.key_value_heads, {model['key_value_heads']}",
            model["heads"],
        )
    if train["batch"] < len(data["languages"]):
        yield (
            "train.batch",
            f"at least one sequence of each of the {len(data['languages'])} languages",
            train["batch"],
        )
    if train["checkpoints"] > train["steps"]:
        yield "train.checkpoints", f"at most train.steps, {train['steps']}", train["checkpoints"]
    if train["warmup"] + train["decay"] > train["steps"]:
        yield "train.decay", f"with train.warmup at most train.steps, {train['steps']}", train["decay"]
    if config["influence"]["min_nodes"] > config["influence"]["max_nodes"]:
        yield "influence.min_nodes", "at most influence.max_nodes", config["influence"]["min_nodes"]
    required = {"trained": (), "folder": ("folder",), "hub": ("repository", "revisions")}[chosen["source"]]
    for key in required:
        if chosen[key] is None:
            yield f"checkpoints.{key}", f"a value with checkpoints.source={chosen['source']}", None
