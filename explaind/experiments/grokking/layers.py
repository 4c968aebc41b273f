"""The names of the Transformer's layers, for its options and for its model."""

from __future__ import annotations

__all__ = ["LAYERS"]

#: The paper's six layers, from the input to the output.
LAYERS = ("embedding", "att. encoder", "att. decoder", "linear 1", "linear 2", "decoder")
