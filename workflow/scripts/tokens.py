"""Train the tokenizer and pack the text into sequences."""

from pathlib import Path

from job import job

with job(snakemake) as config:
    from explaind.text.tokens import write_tokens

    write_tokens(
        config,
        Path(snakemake.input.corpus),
        tokenizer=Path(snakemake.output.tokenizer),
        tokens=Path(snakemake.output.tokens),
        table=Path(snakemake.output.table),
    )
