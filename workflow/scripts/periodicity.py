"""Lasso of the last window's similarity on cosines and sines of the label difference."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.studies.periodicity import lasso

    lasso(
        config,
        Path(snakemake.input.window),
        Path(snakemake.input.phases),
        output=Path(snakemake.output.coefficients),
    )
