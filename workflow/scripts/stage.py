"""Run one stage: its module's `write` gets the rule's named inputs, its wildcards and its named outputs as arguments.

A long stage keeps its state beside its first output; an attempt after one that was killed goes on from there.
"""

import importlib
from pathlib import Path

from job import arguments, job

with job(snakemake) as config:
    from explaind.runtime.allocator import keep_memory
    from explaind.runtime.durable import durable
    from explaind.runtime.identity import identity

    params, how = snakemake.params, dict(config["execution"])
    every = how.pop("save_every")
    how |= {"threads": snakemake.threads, "gpu": snakemake.resources.get("gpu", 0)}
    owner = identity(map(Path, snakemake.input), config=params.config, source=params.source, how=how)
    keep_memory()  # libraries that stages call spend most of their time on page faults otherwise
    write = importlib.import_module(params.module).write
    with durable(Path(snakemake.output[0]), owner, every=every):
        write(**arguments(write, config, snakemake))
