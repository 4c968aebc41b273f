"""Write one table, hold its columns against their declaration, and make a typed file and a page of it."""

import importlib
from pathlib import Path

from job import arguments, job, paths

with job(snakemake) as config:
    from explaind.tables.columns import check_table
    from explaind.tables.pages import write_page
    from explaind.tables.typed import write_typed

    module = importlib.import_module(snakemake.params.module)
    outputs = paths(snakemake.output)
    page, _ = outputs.pop("page"), outputs.pop("typed")
    module.write(**arguments(module.write, config, snakemake, outputs=False), **outputs)
    check_table(module.TABLE, outputs)
    write_typed(module.TABLE, outputs)
    write_page(Path(snakemake.output.output), page)
