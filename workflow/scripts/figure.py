"""Draw one figure: its module's `draw` gets the rule's named inputs as arguments."""

import importlib
from pathlib import Path

from job import arguments, job

with job(snakemake) as config:
    draw = importlib.import_module(snakemake.params.module).draw
    inputs = arguments(draw, config, snakemake, outputs=False)
    draw(**inputs, stem=Path(snakemake.output.png).with_suffix(""))
