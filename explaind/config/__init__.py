"""The configuration, without torch: compose it, check it, slice it, and digest the code that reads it.

The Snakefile imports this package at every parse, so nothing here may import torch. The values themselves
live in `conf/`, whose `config.yaml` lists every key.
"""

from __future__ import annotations

from explaind.config.compose import compose, compose_all, read_overrides
from explaind.config.digest import source_digest
from explaind.config.schema import validate
from explaind.config.slices import slice_config, slice_json

__all__ = [
    "compose",
    "compose_all",
    "read_overrides",
    "slice_config",
    "slice_json",
    "source_digest",
    "validate",
]
