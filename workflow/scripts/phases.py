"""Find the steps of memorisation and generalisation, and place the windows by them."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.training.phases import write_phases

    write_phases(config, Path(snakemake.input.summary), output=Path(snakemake.output.phases))
