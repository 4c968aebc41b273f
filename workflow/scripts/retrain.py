"""Train models on some subsets of the training set."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.studies.retrain import retrain

    retrain(
        config,
        snakemake.wildcards.fraction,
        int(snakemake.wildcards.start),
        int(snakemake.wildcards.stop),
        output=Path(snakemake.output.retrained),
    )
