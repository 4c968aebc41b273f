"""Train a language model and keep its checkpoints."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.training.pretrain import pretrain

    pretrain(
        config,
        Path(snakemake.input.tokens),
        checkpoints=Path(snakemake.output.checkpoints),
        metrics=Path(snakemake.output.metrics),
        losses=Path(snakemake.output.losses),
    )
