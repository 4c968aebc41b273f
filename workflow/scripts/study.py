"""Run one study: the rule's name is the module's, its named inputs and outputs are the arguments."""

import importlib

from job import job, paths

with job(snakemake) as config:
    write = importlib.import_module(f"explaind.studies.{snakemake.rule}").write
    write(config, **paths(snakemake.input), **paths(snakemake.output))
