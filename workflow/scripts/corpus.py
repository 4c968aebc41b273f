"""Extract the text of every language."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.text.corpus import write_corpus

    write_corpus(config, Path(snakemake.output.corpus))
