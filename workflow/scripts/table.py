"""Write one table: the rule's name is the module's, its named inputs are the arguments."""

import importlib
from pathlib import Path

from job import job, paths

with job(snakemake) as config:
    write = importlib.import_module(f"explaind.tables.{snakemake.rule}").write
    write(**paths(snakemake.input), config=config, output=Path(snakemake.output.table))
