"""Train or read the tokenizer, and pack the text into sequences."""

from __future__ import annotations

from explaind.text.tokens import write_tokens as write

__all__ = ["write"]
