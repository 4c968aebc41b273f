"""Write one table as a page of the report."""

from job import job, paths

with job(snakemake):
    from explaind.tables.page import write

    write(**paths(snakemake.input), **paths(snakemake.output))
