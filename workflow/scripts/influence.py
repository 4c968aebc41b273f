"""Influence over one range of updates."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.attribution.stage import influence_part

    influence_part(
        config,
        Path(snakemake.input.trajectory),
        Path(snakemake.input.certificate),
        int(snakemake.wildcards.start),
        int(snakemake.wildcards.stop),
        Path(snakemake.output.part),
    )
