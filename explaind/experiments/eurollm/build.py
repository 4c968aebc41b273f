"""EuroLLM's pretraining at any size: multilingual text and a Llama."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explaind.experiments.eurollm.model import LLAMA, llama_config
from explaind.experiments.language.pretraining import Pretraining, pretraining

__all__ = ["build"]


def build(config: Mapping[str, Any], tokens: Path) -> Pretraining:
    """The experiment on packed sequences (see `explaind.experiments.language.pretraining.load`)."""
    return pretraining(config, tokens, LLAMA, llama_config(config["model"], config["data"]["context"]))
