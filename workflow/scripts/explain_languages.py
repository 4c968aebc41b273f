"""Explain one simulated update by training language and held-out language."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.stages.explain_languages import write

    own = snakemake.input.get("checkpoints")
    write(
        config,
        tokens=Path(snakemake.input.tokens),
        checkpoint=snakemake.wildcards.checkpoint,
        checkpoints=Path(own) if own else None,
        explained=Path(snakemake.input.explained),
        output=Path(snakemake.output.languages),
    )
