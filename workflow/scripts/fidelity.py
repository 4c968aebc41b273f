"""One experiment's rows of table 1."""

from job import job, paths

with job(snakemake) as config:
    from explaind.tables.table01_fidelity import rows_of

    rows_of(config, **paths(snakemake.input), **paths(snakemake.output))
