"""Run one stage: its module's `write` gets the rule's named inputs, its wildcards and its named outputs as arguments."""

import importlib

from job import arguments, job

with job(snakemake) as config:
    write = importlib.import_module(snakemake.params.module).write
    write(**arguments(write, config, snakemake))
