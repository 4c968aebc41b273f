"""Rebuild every recorded update and compare it with the observed one."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.attribution.certificate import certify_run

    certify_run(config, Path(snakemake.input.trajectory), Path(snakemake.output.certificate))
