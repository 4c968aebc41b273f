"""Write one table: the rule's name is the module's, its named inputs and outputs are the arguments."""

import importlib

from job import job, paths

with job(snakemake) as config:
    write = importlib.import_module(f"explaind.tables.{snakemake.rule}").write
    # A table that depends on no value of the configuration takes no configuration.
    values = {} if snakemake.params.config == "{}" else {"config": config}
    write(**values, **paths(snakemake.input), **paths(snakemake.output))
