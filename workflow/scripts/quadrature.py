"""Rebuild predictions with a fixed number of nodes."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.studies.quadrature import fixed_nodes

    fixed_nodes(
        config,
        Path(snakemake.input.trajectory),
        int(snakemake.wildcards.nodes),
        Path(snakemake.output.quadrature),
    )
