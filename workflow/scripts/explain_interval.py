"""Explain every update between two checkpoints."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.updates.stage import explain_steps

    explain_steps(
        config,
        Path(snakemake.input.tokens),
        snakemake.wildcards.checkpoint,
        checkpoints=Path(snakemake.input.checkpoints),
        output=Path(snakemake.output.interval),
    )
