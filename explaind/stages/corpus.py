"""Paragraphs of every language, from packages or from files of the user's."""

from __future__ import annotations

from explaind.config.declarations import Stage
from explaind.text.corpus import write_corpus as write

__all__ = ["write"]

STAGE = Stage(
    options=("data.source", "data.languages", "data.heldout"),
    requires="checkpoints",
    memory=2000,
    runtime=60,
    priority=9,
    note="needs the network once",
)
