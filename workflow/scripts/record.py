"""Train the chosen seed again, recording it."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.training.train import record_run

    record_run(
        config,
        Path(snakemake.input.selection),
        trajectory=Path(snakemake.output.trajectory),
        summary=Path(snakemake.output.summary),
        metrics=Path(snakemake.output.metrics),
    )
