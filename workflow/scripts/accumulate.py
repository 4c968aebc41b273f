"""Add the parts of the influence up."""

from pathlib import Path

from job import job

with job(snakemake):
    from explaind.attribution.accumulate import accumulate

    accumulate([Path(part) for part in snakemake.input.parts], Path(snakemake.output.influence))
