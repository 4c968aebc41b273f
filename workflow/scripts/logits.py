"""Importances on logits."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.studies.logits import write

    write(config, Path(snakemake.input.trajectory), output=Path(snakemake.output.importances))
