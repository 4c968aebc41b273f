"""Dry runs, one after another, in a process that imports Snakemake and the project once.

A line of JSON on standard input is a command line of Snakemake. The line that answers is its exit status and all that it printed.
"""

from __future__ import annotations

import json
import os
import sys
from tempfile import TemporaryFile

from snakemake.cli import main


def plan(arguments: list[str]) -> tuple[int, str]:
    """Exit status and output of one call of Snakemake; descriptors are redirected, since its loggers hold on to the streams."""
    with TemporaryFile("w+", encoding="utf-8") as said:
        for stream in (sys.stdout, sys.stderr):
            os.dup2(said.fileno(), stream.fileno())
        try:
            main(arguments)
            status = 0
        except SystemExit as end:
            status = int(end.code or 0)
        for stream in (sys.stdout, sys.stderr):
            stream.flush()
        said.seek(0)
        return status, said.read()


if __name__ == "__main__":
    with os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8") as replies:
        for line in sys.stdin:
            print(json.dumps(plan(json.loads(line))), file=replies, flush=True)
