"""Explain one simulated update from a checkpoint."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.updates.stage import explain_checkpoint

    own = snakemake.input.get("checkpoints")
    explain_checkpoint(
        config,
        Path(snakemake.input.tokens),
        snakemake.wildcards.checkpoint,
        checkpoints=Path(own) if own else None,
        output=Path(snakemake.output.explained),
    )
