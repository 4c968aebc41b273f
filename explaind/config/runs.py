"""The groups of the configuration that say how an experiment is run: recorded here, or read from checkpoints."""

from __future__ import annotations

from typing import Any

from explaind.config.options import (
    Option,
    choice,
    choice_of,
    integer,
    listing,
    number,
    optional,
    power_of_three,
    text,
    truth,
)

_accuracy = number(0, 1)
_positive = number(0, open_low=True)
_count = integer(1)
_names = listing(text(), distinct=True)
_nodes = choice_of(1, 3, 7)
#: Groups of an experiment that records its own training, and of one that reads checkpoints.
RECORDED: dict[str, Any] = {
    "train": {
        "seeds": listing(integer(0), distinct=True),
        "seed": optional(integer(0)),
        "max_steps": _count,
        "batch": optional(_count),
        "drop_last": truth(),
        "flip": choice("none", "horizontal"),
        "schedule": choice("constant", "triangular"),
        "peak_epoch": optional(_positive),
        "evaluate_every": _count,
        "stop_accuracy": optional(_accuracy),
        "memorized_accuracy": _accuracy,
        "generalized_accuracy": _accuracy,
        "threads": _count,
    },
    "select": {"fallback": choice("refuse", "best")},
    "verify": {"tolerance": _positive},
    "influence": {
        "tolerance": _positive,
        "max_nodes": power_of_three(),
        "tests": _count,
        "groups": choice("layer", "all"),
    },
}
CHECKPOINTS: dict[str, Any] = {
    "train": {
        "seed": integer(0),
        "steps": _count,
        "batch": _count,
        "mix": number(0, 1),
        "warmup": integer(0),
        "decay": integer(0),
        "final": number(0, 1),
        "clip_norm": optional(_positive),
        "checkpoints": _count,
        "threads": _count,
    },
    "checkpoints": {
        "source": choice("trained", "folder", "hub"),
        "folder": optional(text()),
        "repository": optional(text()),
        "revisions": optional(_names),
        "optimizer": {
            "format": choice("explaind", "torch", "megatron"),
            "folder": optional(text()),
        },
    },
    "influence": {
        "tolerance": _positive,
        "min_nodes": _nodes,
        "max_nodes": _count,
        "heldout": _count,
        "weights": choice("float32", "bfloat16", "float64"),
    },
}
#: Experiments that are not trained under a recorder.
FROM_CHECKPOINTS = ("eurollm",)
EXECUTION: dict[str, Option] = {
    "part_steps": _count,
    "chunk_steps": _count,
    "retrain_subsets": _count,
    "samples_per_pass": _count,
    "rows_mb": _count,
    "gpu": integer(0),
}
