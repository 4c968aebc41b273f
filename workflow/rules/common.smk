# Which experiments, at which scale, with which overrides: everything Snakemake's own config may say. And what every rule shares.
import hashlib
import json
import shlex
import sys
from pathlib import Path

from explaind.config import compose_all
from explaind.config.declarations import figures, stages, tables
from explaind.config.graph import (
    available,
    jobs_of,
    made,
    module_of,
    origins,
    product_settings,
    reads_many,
    settings,
    source,
)
from explaind.errors import ConfigError, ExplaindError
from explaind.runtime.locks import hold_folder


def read_request(request):
    """The composed configuration of each requested experiment: of all there are, unless some are named."""
    known = ("experiment", "scale", "overrides", "results")
    if unknown := sorted(set(request) - set(known)):
        raise ConfigError(
            f"The workflow has no setting called {unknown[0]!r}.",
            expected=f"--config with {', '.join(known)}",
            got=unknown[0],
            remedy=f"write an option of the experiment as --config 'overrides=[\"{unknown[0]}=...\"]'",
        )
    names = request.get("experiment")
    names = names.split(",") if isinstance(names, str) else names
    return compose_all(names, request.get("scale", "default"), request.get("overrides") or ())


try:
    REQUEST = dict(config)
    CONFIGS = read_request(REQUEST)
    FIGURES = made(figures(), CONFIGS)
    TABLES = made(tables(), CONFIGS)
except ExplaindError as error:
    raise WorkflowError(str(error)) from None

if workflow.remote_exec:
    # A group's jobs run one after another inside their submission too (workflow/profiles/slurm): otherwise the step that runs them
    # asks for the processors of those that could run side by side, which its allocation has not.
    workflow.register_resource("in_turn", 1)

LOCKS = []  # open files that this process has locked
RESULTS = str(config.get("results", "results")).rstrip("/")
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"
FIGURE_FILES = [f"{RESULTS}/figures/{one.file}.{suffix}" for one in FIGURES for suffix in ("pdf", "png")]
TABLE_FILES = [
    f"{RESULTS}/tables/{file}.{suffix}"
    for one in TABLES
    for file in one.files.values()
    for suffix in ("csv", "parquet")
]
PAGE_FILES = [f"{RESULTS}/report/{one.file}.html" for one in TABLES]

# How the work is cut reaches the scripts here and not in params: it changes no result. Captions go to the report in the same way.
config["execution"] = {name: values["execution"] for name, values in CONFIGS.items()}
config["captions"] = {one.rule: one.product.caption for one in (*FIGURES, *TABLES)}


wildcard_constraints:
    experiment="|".join(CONFIGS),
    seed=r"\d+",
    start=r"\d{6}",
    stop=r"\d{6}",
    tests_from=r"\d{6}",
    tests_to=r"\d{6}",
    nodes=r"\d+",
    split=r"\d+",
    window=r"\w+",
    setting=r"\w+",
    fraction=r"0\.\d+|leave-one-out",
    method=r"[a-z_]+",
    checkpoint=r"[^/]+",


def lock_results():
    """One workflow at a time for a folder of results: Snakemake's own lock is of the folder that it is started in."""
    try:
        LOCKS.append(hold_folder(Path(RESULTS)))
    except ExplaindError as error:
        raise WorkflowError(str(error)) from None


def depends(stage):
    """The params of a stage's rule: a change in the configuration that it reads, or in the code that it runs, reruns it."""

    def read(wildcards):
        nodes = int(wildcards.nodes) if stage == "quadrature" else None
        return settings(CONFIGS[wildcards.experiment], stages()[stage], nodes=nodes)

    return {
        "config": read,
        "source": lambda wildcards: source(CONFIGS[wildcards.experiment], stage),
        "module": module_of(stage),
    }


def memory(mb):
    """Memory in MB, more at each new attempt after a job was killed for it."""
    return lambda wildcards, attempt: mb * attempt


def asks(stage):
    """The resources of a stage's rule, as it declares them; a GPU as the experiment's size asks."""
    declared = stages()[stage]
    resources = {"mem_mb": memory(declared.memory), "runtime": declared.runtime}
    if declared.gpu:
        resources["gpu"] = lambda wildcards: CONFIGS[wildcards.experiment]["execution"]["gpu"]
    return resources


def threads_of(stage):
    """The threads of a stage's rule. The order of float sums depends on them, so the configuration sets those of training."""
    declared = stages()[stage].threads
    if isinstance(declared, int):
        return declared
    group, option = declared.split(".")
    return lambda wildcards: CONFIGS[wildcards.experiment][group][option]


def priority_of(stage):
    """Which of the jobs that could start does: those with the highest number."""
    return stages()[stage].priority


def files_of(stage, experiment, *chosen, output="output"):
    """An output of a stage, for all its jobs in an experiment or for the chosen ones."""
    made_by = getattr(rules, stage)
    pattern = str(made_by.benchmark if output == "benchmark" else getattr(made_by.output, output))
    jobs = jobs_of(stage, CONFIGS[experiment], *chosen)
    return [pattern.format(experiment=experiment, **job) for job in jobs]


def every(stage, *chosen):
    """An input of a stage's rule: the outputs of another stage, for all its jobs or for the chosen ones."""
    return lambda wildcards: files_of(stage, wildcards.experiment, *chosen)


def dataset(wildcards):
    """The experiment's data set, if its data come from outside."""
    fetched = available(stages()["data"], CONFIGS[wildcards.experiment])
    return f"{RESULTS}/{wildcards.experiment}/data.zarr" if fetched else []
