"""Write one table, hold its columns against their declaration, and make a page of it for the report."""

import importlib
from pathlib import Path

from job import arguments, job, paths

with job(snakemake) as config:
    from explaind.tables.columns import check_table

    from explaind.tables.pages import write_page

    module = importlib.import_module(snakemake.params.module)
    outputs = paths(snakemake.output)
    page = outputs.pop("page")
    module.write(**arguments(module.write, config, snakemake, outputs=False), **outputs)
    check_table(module.TABLE, outputs)
    write_page(Path(snakemake.output.output), page)
