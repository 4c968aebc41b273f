"""Paragraphs of every language, from packages or from files of the user's."""

from __future__ import annotations

from explaind.text.corpus import write_corpus as write

__all__ = ["write"]
