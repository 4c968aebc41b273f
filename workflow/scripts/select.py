"""Choose the seed to explain."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.training.train import select

    select(
        config, [Path(path) for path in snakemake.input.summaries], output=Path(snakemake.output.selection)
    )
