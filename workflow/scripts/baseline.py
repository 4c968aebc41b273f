"""Scores of one other method of data attribution."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.studies.baseline import write

    write(
        config,
        Path(snakemake.input.trajectory),
        snakemake.wildcards.method,
        output=Path(snakemake.output.baseline),
    )
