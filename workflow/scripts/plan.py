"""Print what the request costs."""

import json

from explaind.planning.jobs import Job
from explaind.planning.report import plan_text

jobs = [Job(**job) for job in json.loads(snakemake.params.jobs)]
print(plan_text(jobs, json.loads(snakemake.params.configs), int(snakemake.params.cores)))
