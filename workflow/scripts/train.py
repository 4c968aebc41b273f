"""Train one seed, without recording it."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.training.train import train_seed

    train_seed(
        config,
        int(snakemake.wildcards.seed),
        metrics=Path(snakemake.output.metrics),
        summary=Path(snakemake.output.summary),
    )
