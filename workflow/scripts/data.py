"""Fetch a data set and keep it as a verified store."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.datasets.images import write_data

    write_data(config, Path(snakemake.output.data))
