"""Run one study: the rule's name is the module's, its named inputs and outputs are the arguments."""

import importlib

from job import job, paths

with job(snakemake) as config:
    write = importlib.import_module(f"explaind.studies.{snakemake.rule}").write
    inputs = paths(snakemake.input)
    inputs.pop("certificate", None)  # it need only exist: nothing is attributed before the run is certified
    write(config, **inputs, **paths(snakemake.output))
