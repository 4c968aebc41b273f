"""Test x train kernels and similarities over one window of updates."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.attribution.stage import window_part

    window_part(
        config,
        Path(snakemake.input.trajectory),
        Path(snakemake.input.certificate),
        Path(snakemake.input.phases),
        snakemake.wildcards.window,
        Path(snakemake.output.window),
    )
