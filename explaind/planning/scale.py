"""What single updates of large language models need on many GPUs: the arithmetic behind docs/scale.md."""

from __future__ import annotations

import math
from dataclasses import dataclass

__all__ = ["Llama", "scale_table"]

BATCH, HELDOUT, NODES, CONTEXT = 70, 35, 7, 4096
"""Sequences of a batch and held out, quadrature nodes, tokens of a sequence: as docs/scale.md states."""
MEASURED_SECONDS = 900.0
"""A checkpoint of the 1.7-billion model on one H100 (the paper: about 15 minutes)."""
GPUS, CHECKPOINTS, GPU_BYTES = 64, 1000, 80e9
LINK, DISK_RATE = 25e9, 5e9
"""Bytes a second of one GPU's network, and of the file system that all share: assumptions."""
COPIES = 4
"""float32 numbers for each parameter: the model, θ, and what the batch and the momentum contribute (docs/checkpoints.md)."""
STATE = 12
"""Bytes for each parameter in a checkpoint: weights and both moments in float32."""
SAVED = (10, 4)
"""Activations of a layer that a backward pass keeps, for each token: so many times the width, and so many the hidden width."""


@dataclass(frozen=True)
class Llama:
    """Sizes of a model with untied embeddings."""

    name: str
    layers: int
    width: int
    hidden: int
    heads: int
    key_value_heads: int
    vocabulary: int = 128_000

    @property
    def parameters(self) -> int:
        """All of them."""
        attention = 2 * self.width**2 * (1 + self.key_value_heads / self.heads)
        per_layer = attention + 3 * self.width * self.hidden + 2 * self.width
        return int(self.layers * per_layer + self.width + 2 * self.width * self.vocabulary)

    @property
    def forward(self) -> float:
        """Floating-point operations of the forward pass of one sequence; the input embedding costs none."""
        products = 2.0 * (self.parameters - self.width * self.vocabulary) * CONTEXT
        return products + 4.0 * CONTEXT**2 * self.width * self.layers

    @property
    def activations(self) -> float:
        """Bytes that one sequence's backward pass keeps, attention without its matrices, and the logits with their gradient."""
        return self.layers * self._layer + self._logits

    @property
    def recomputed(self) -> float:
        """The same, if only the input of every layer is kept and the rest of one layer is computed again at a time."""
        return self.layers * CONTEXT * self.width * 4.0 + self._layer + self._logits

    @property
    def _layer(self) -> float:
        return CONTEXT * (SAVED[0] * self.width + SAVED[1] * self.hidden) * 4.0

    @property
    def _logits(self) -> float:
        return 3 * CONTEXT * self.vocabulary * 4.0


MODELS = (
    Llama("1.7 billion", layers=24, width=2048, hidden=5632, heads=16, key_value_heads=8),
    Llama("9 billion", layers=42, width=4096, hidden=12_288, heads=32, key_value_heads=8),
)


GRADIENTS, FORWARDS = BATCH + NODES * HELDOUT, 2 * HELDOUT + BATCH
"""Of a sequence, for one checkpoint: gradients of the batch and, at every node, of the held-out loss; forward passes for both
ends of the path and for the check of the batch's losses."""


def passes(gradient: float = 3.0) -> float:
    """Forward passes of a sequence for one checkpoint; a gradient costs so many, 4 if activations are recomputed."""
    return gradient * GRADIENTS + FORWARDS


def rate() -> float:
    """Floating-point operations a second of one H100, from what was measured on the smaller model."""
    return passes() * MODELS[0].forward / MEASURED_SECONDS


def needs(model: Llama) -> dict[str, str]:
    """Rows of the table for one model."""
    state, largest = COPIES * 4.0 * model.parameters, 4.0 * model.width * model.vocabulary
    alone = state + largest + model.activations
    group, working, gradient = 1, largest + model.activations, 3.0
    if alone > GPU_BYTES:  # divided among GPUs, each of which keeps as little as it can
        working, gradient = largest + model.recomputed, 4.0
        while state / group + working > GPU_BYTES:
            group *= 2
    # Every pass gathers the parts of the model that the other GPUs hold.
    gathered = (2 * GRADIENTS + FORWARDS) * 4.0 * model.parameters * (group - 1) / group
    each = passes(gradient) * model.forward / rate() / group + gathered / LINK
    rounds = math.ceil(CHECKPOINTS / (GPUS // group))
    stored = STATE * model.parameters
    reading = 2 * stored * (GPUS // group) / DISK_RATE
    return {
        "parameters": f"{model.parameters:,}",
        "operations of one sequence's forward pass": f"{model.forward:.3g}",
        "one checkpoint: forward passes of a sequence": f"{passes():,.0f}",
        "… in training steps on the same batch": f"{passes() / (3 * BATCH):.1f}",
        "… time on one GPU, if it fitted": f"{passes() * model.forward / rate() / 60:.0f} min",
        "memory of parameters (16 bytes each)": f"{state / 1e9:.0f} GB",
        "… with one gradient and one sequence's activations": f"{alone / 1e9:.0f} GB",
        "GPUs for one checkpoint": str(group),
        "… memory of each": f"{(state / group + working) / 1e9:.0f} GB",
        "… network for each, one checkpoint": f"{gathered / 1e12:.1f} TB" if gathered else "none",
        "… time": f"{each / 60:.0f} min",
        f"{CHECKPOINTS:,} checkpoints: GPU hours": f"{each * group * CHECKPOINTS / 3600:,.0f}",
        f"… time on {GPUS} GPUs": f"{rounds * each / 3600:.1f} h",
        "… disk, 12 bytes for each parameter": f"{stored * CHECKPOINTS / 1e12:.0f} TB",
        f"… reading twice, all {GPUS} GPUs beginning together": f"{reading / 60:.1f} min for each round",
    }


def scale_table() -> str:
    """The table of docs/scale.md."""
    columns = [needs(model) for model in MODELS]
    lines = ["| | " + " | ".join(model.name for model in MODELS) + " |", "| --- |" + " --- |" * len(MODELS)]
    lines += [f"| {row} | " + " | ".join(one[row] for one in columns) + " |" for row in columns[0]]
    lines.append("")
    lines.append(f"The rate behind all times: {rate() / 1e12:.1f} × 10¹² operations a second.")
    return "\n".join(lines)
