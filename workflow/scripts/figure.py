"""Draw one figure as PDF and PNG: the rule's name is the module's, its named inputs are the arguments."""

import importlib
from pathlib import Path

from job import job, paths

with job(snakemake) as config:
    draw = importlib.import_module(f"explaind.figures.{snakemake.rule}").draw
    draw(**paths(snakemake.input), config=config, stem=Path(snakemake.output.pdf).with_suffix(""))
