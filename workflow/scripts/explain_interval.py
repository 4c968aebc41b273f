"""Explain every update between two checkpoints."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.stages.explain_interval import write

    own = snakemake.input.get("checkpoints")
    write(
        config,
        tokens=Path(snakemake.input.tokens),
        checkpoint=snakemake.wildcards.checkpoint,
        checkpoints=Path(own) if own else None,
        output=Path(snakemake.output.interval),
    )
