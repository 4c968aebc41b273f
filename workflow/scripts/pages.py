"""Write each table as a page of the report."""

from pathlib import Path

from job import job

with job(snakemake):
    from explaind.tables.pages import write_pages

    write_pages([Path(table) for table in snakemake.input.tables], [Path(page) for page in snakemake.output])
