"""Print what the request costs, and what the records say it cost; keep the latter as a table."""

import csv
import json
from pathlib import Path

from explaind.planning.jobs import Job
from explaind.planning.report import COLUMNS, compared, comparison, plan_text

jobs = [Job(**job) for job in json.loads(snakemake.params.jobs)]
configs = json.loads(snakemake.params.configs)
print(plan_text(jobs, configs, int(snakemake.params.cores)))
if rows := comparison(jobs, configs):
    print(f"\n{compared(rows)}")
    # Small, and without the libraries of tables: planning takes no longer than it must.
    table = Path(snakemake.params.table)
    partial = table.with_suffix(".partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([COLUMNS, *rows])
    partial.replace(table)
