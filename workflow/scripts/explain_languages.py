"""Explain one simulated update by training language and held-out language."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.updates.stage import explain_languages

    own = snakemake.input.get("checkpoints")
    explain_languages(
        config,
        Path(snakemake.input.tokens),
        snakemake.wildcards.checkpoint,
        Path(snakemake.input.explained),
        checkpoints=Path(own) if own else None,
        output=Path(snakemake.output.languages),
    )
