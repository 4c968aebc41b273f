"""Train or read the tokenizer, and pack the text into sequences."""

from __future__ import annotations

from explaind.config.declarations import Stage
from explaind.text.tokens import write_tokens as write

__all__ = ["write"]

STAGE = Stage(options=("data",), requires="checkpoints", memory=4000, runtime=60, priority=9)
