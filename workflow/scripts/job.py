"""What every script of the workflow does around its one library call."""

from __future__ import annotations

import inspect
import json
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

from explaind.errors import ExplaindError
from explaind.runtime.advice import advice
from explaind.runtime.leftovers import remove_half_written
from explaind.runtime.locks import hold_log

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
#: Wildcards that count; all others are names.
NUMBERS = ("seed", "start", "stop", "nodes", "split", "tests_from", "tests_to")


@contextmanager
def job(snakemake: Any) -> Iterator[dict[str, Any]]:
    """Run the body with the job's threads and log; yield the rule's slice of the configuration.

    `config["execution"]` (how work is cut) is added from the workflow: it is in no rule's params, since it changes no result.
    So are the files of data that the rule declares as its input `data`, as `config["files"]`.
    Import numerical libraries inside the body: they read the number of threads when they are imported.

    A problem the user can act on ends the job with status 2 and its sentences; any other error with status 1 and a traceback in
    the log.
    """
    for variable in THREADS:
        os.environ[variable] = str(snakemake.threads)
    if not snakemake.resources.get("gpu", 0):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # a GPU is for the jobs that asked for one
    config = json.loads(snakemake.params.config)
    experiment = getattr(snakemake.wildcards, "experiment", None) or snakemake.params.get("experiment")
    config["execution"] = snakemake.config["execution"][experiment]
    if snakemake.input.get("data"):
        config["files"] = {"data": str(snakemake.input.data)}
    path = Path(snakemake.log[0])
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a", buffering=1) as log, redirect_stdout(log), redirect_stderr(log):
        try:
            hold_log(log)
            remove_half_written(map(Path, snakemake.output))
            yield config
        except ExplaindError as error:
            for stream in (log, sys.__stderr__):
                print(advice(error, snakemake.input), file=stream)
            raise SystemExit(2) from error
        except Exception as error:
            traceback.print_exc(file=log)
            print(f"{type(error).__name__}: {error} (the traceback is in {path})", file=sys.__stderr__)
            raise SystemExit(1) from error


def arguments(
    function: Callable[..., Any], config: dict[str, Any], snakemake: Any, *, outputs: bool = True
) -> dict[str, Any]:
    """What a rule has for the arguments of a function, by name: configuration, inputs, wildcards and outputs.

    An input that the function does not name need only exist, like the certificate without which nothing is attributed. An input
    without files is left out: the function has a default for it.
    """
    inputs = {name: files for name, files in paths(snakemake.input).items() if files != []}
    wildcards = {
        name: int(value) if name in NUMBERS else value for name, value in snakemake.wildcards.items()
    }
    given = {"config": config, **inputs, **wildcards}
    named = inspect.signature(function).parameters
    return {
        **{name: value for name, value in given.items() if name in named},
        **(paths(snakemake.output) if outputs else {}),
    }


def paths(files: Any) -> dict[str, Path | list[Path]]:
    """A rule's named inputs: a path each, or a list of paths."""
    return {
        name: Path(item) if isinstance(item, str) else [Path(one) for one in item]
        for name, item in files.items()
    }
