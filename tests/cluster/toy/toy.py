"""A toy job: says that it begins, waits for what it is told to wait for, and writes what it saw."""

import json
import os
import time
from pathlib import Path

from job import job

with job(snakemake):
    output = Path(snakemake.output.output)
    begun = output.with_suffix(".begun")
    with begun.open("a") as file:
        file.write(f"{snakemake.resources.mem_mb}\n")
    taken = bytearray(snakemake.params.takes * 2**20)
    taken[::4096] = b"x" * len(taken[::4096])  # memory that is only reserved is not counted
    start = time.monotonic()
    rule = output.stem.split("-")[0]
    held = rule == "long" and output.with_suffix(".release")
    while (
        len(list(output.parent.glob(f"{rule}-*.begun"))) < snakemake.params.begun
        or (held and not held.exists())
        or (taken and time.monotonic() < start + 10)
    ):
        if time.monotonic() > start + 900:
            raise TimeoutError(f"{output.name} was not released")
        time.sleep(0.2)
    seen = {
        "devices": os.environ.get("CUDA_VISIBLE_DEVICES"),
        "memory": snakemake.resources.mem_mb,
        "threads": snakemake.threads,
    }
    output.write_text(json.dumps(seen))
