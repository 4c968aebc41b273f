"""The groups of the configuration as data: which options there are, and what they may be.

A group whose options depend on a choice (`data`, `model`, `optimizer` by their `name`; `study` and `figure` by the experiment)
has one table per choice: a new data set, model, optimizer or experiment adds an entry and changes nothing else.
"""

from __future__ import annotations

from typing import Any

from explaind.config.options import (
    Option,
    choice,
    choice_of,
    integer,
    listing,
    mapping,
    number,
    optional,
    power_of_three,
    text,
)

_accuracy = number(0, 1)
_positive = number(0, open_low=True)
#: Attribution methods of the data study; all but the first are dattri's.
METHODS = ("explaind", "trak", "tracin", "gradient_dot", "influence_function")
_count = integer(1)
_share = number(0, 1, open_low=True)
_names = listing(text(), distinct=True)
_nodes = choice_of(1, 3, 7)


def _images(channels: int) -> dict[str, Any]:
    return {
        "source": {
            "dataset": choice("mnist", "cifar10"),
            "classes": optional(listing(integer(0), distinct=True)),
        },
        "train": _count,
        "test": _count,
        "heldout": integer(0),
        "mean": listing(number(0, 1), length=channels),
        "std": listing(_positive, length=channels),
    }


DATA: dict[str, dict[str, Any]] = {
    "modular_addition": {"modulus": integer(2), "train": _count, "test": _count},
    "mnist": _images(1),
    "cifar2": _images(3),
    "multilingual_text": {
        "source": {
            "kind": choice("packages", "folder", "huggingface"),
            "folder": optional(text()),
            "dataset": optional(text()),
            "configuration": optional(text()),
            "split": text(),
            "column": text(),
            "revision": optional(text()),
            "documents": _count,
        },
        "languages": _names,
        "heldout": {
            "kind": choice("udhr", "share"),
            "share": number(0, 1, open_low=True, open_high=True),
            "languages": _names,
        },
        "tokenizer": {
            "kind": choice("train", "file", "hub"),
            "file": optional(text()),
            "repository": optional(text()),
            "revision": text(),
            "vocabulary": _count,
            "paragraphs": optional(_count),
        },
        "context": integer(2),
    },
}
MODEL: dict[str, dict[str, Option]] = {
    "modular_transformer": {"d_model": _count, "heads": _count, "hidden": _count},
    "mnist_cnn": {"channels": listing(_count, length=2), "hidden": _count},
    "resnet9": {"width": _count},
    "llama": {
        **dict.fromkeys(("vocabulary", "width", "hidden", "layers", "heads", "key_value_heads"), _count),
        **dict.fromkeys(("rope_theta", "rms_norm_eps", "initializer_range"), _positive),
    },
}
OPTIMIZER: dict[str, dict[str, Option]] = {
    "AdamW": {
        "lr": _positive,
        "weight_decay": number(0),
        "betas": listing(number(0, 1, open_high=True), length=2),
        "eps": _positive,
    },
    "SGD": {"lr": _positive, "momentum": number(0, 1, open_high=True), "weight_decay": number(0)},
}
_quadrature = {"nodes": listing(_count, distinct=True), "tests": listing(_count)}
_attributed: dict[str, Any] = {
    "quadrature": _quadrature,
    "attribution": {
        "tests": _count,
        "tolerance": _positive,
        "max_nodes": power_of_three(),
        "tail_tolerance": number(0, 1, open_high=True),
    },
    "datamodel": {
        "fractions": listing(number(0, 1, open_low=True, open_high=True), distinct=True),
        "leave_one_out": integer(0),
        "subsets": integer(2),
        "seeds": listing(integer(0), distinct=True),
        "seed": integer(0),
        "methods": listing(choice(*METHODS), distinct=True),
        "projection": _count,
        "checkpoints": _count,
        "hessian_samples": _count,
        "eigenvectors": _count,
        "iterations": _count,
        "resamples": integer(2),
    },
    "examples": {"tests": _count, "top": _count},
}
STUDY: dict[str, dict[str, Any]] = {
    "grokking": {
        "windows": {"positions": mapping(integer(0)), "width": _count, "reference_stop": _count},
        "kernel": {
            "train": _count,
            "tests": integer(2),
            "tolerance": _positive,
            "max_nodes": power_of_three(),
            "tail_tolerance": number(0, 1, open_high=True),
        },
        "quadrature": _quadrature,
        "periodicity": {"alpha": _positive, "periods": listing(integer(2), length=2)},
        "logits": {
            "module": text(),
            "stride": _count,
            "tests": _count,
            "tolerance": _positive,
            "max_nodes": power_of_three(),
        },
    },
    "mnist": _attributed,
    "mnist_long": {
        "sparse": {"shares": listing(_share, distinct=True), "orders": integer(2), "seed": integer(0)},
    },
    "cifar2": _attributed,
    "eurollm": {
        "languages": {"stride": _count},
        "intervals": {"stride": _count, "tolerance": _positive, "max_nodes": _count},
    },
}
_dpi = {"dpi": integer(20, 1200)}
FIGURE: dict[str, dict[str, Option]] = {
    "grokking": {**_dpi, "regularization_stride": _count},
    "mnist": _dpi,
    "mnist_long": _dpi,
    "cifar2": _dpi,
    "eurollm": _dpi,
}
