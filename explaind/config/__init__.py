"""The configuration, without torch: compose it, check it, slice it, and digest the code that reads it.

The Snakefile imports this package at every parse, so nothing here may import torch. The values themselves live in `conf/`.
What an option means and which values it may have stands beside what it configures: in `experiments/<name>/options.py`,
`config/studies/`, `datasets/options.py`, and here for what experiments share.
"""

from __future__ import annotations

from explaind.config.compose import compose, compose_all, experiments, read_overrides
from explaind.config.digest import source_digest
from explaind.config.slices import slice_config, slice_json
from explaind.config.validate import options_of, validate

__all__ = [
    "compose",
    "compose_all",
    "experiments",
    "options_of",
    "read_overrides",
    "slice_config",
    "slice_json",
    "source_digest",
    "validate",
]
