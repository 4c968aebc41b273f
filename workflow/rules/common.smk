# Which experiments, at which scale, with which overrides: everything Snakemake's own config may say.
import json
import shlex
import sys
from pathlib import Path

from explaind.config import compose_all
from explaind.config.checkpoints import checkpoint_names
from explaind.config.stages import settings, source
from explaind.errors import ConfigError, ExplaindError


def read_request(request):
    """The composed configuration of each requested experiment."""
    known = ("experiment", "scale", "overrides", "results")
    if unknown := sorted(set(request) - set(known)):
        raise ConfigError(
            f"The workflow has no setting called {unknown[0]!r}.",
            expected=f"--config with {', '.join(known)}",
            got=unknown[0],
            remedy=f"write an option of the experiment as --config 'overrides=[\"{unknown[0]}=...\"]'",
        )
    names = request.get("experiment", ["grokking", "mnist", "mnist_long", "cifar2", "eurollm"])
    names = names.split(",") if isinstance(names, str) else list(names)
    return compose_all(names, request.get("scale", "default"), request.get("overrides") or ())


try:
    REQUEST = dict(config)
    CONFIGS = read_request(REQUEST)
except ExplaindError as error:
    raise WorkflowError(str(error)) from None

RESULTS = str(config.get("results", "results")).rstrip("/")
LOGS = f"{RESULTS}/logs"
BENCHMARKS = f"{RESULTS}/benchmarks"

# How the work is cut reaches the scripts here and not in params: it changes no result.
config["execution"] = {name: values["execution"] for name, values in CONFIGS.items()}


wildcard_constraints:
    experiment="|".join(CONFIGS),
    seed=r"\d+",
    start=r"\d{6}",
    stop=r"\d{6}",
    nodes=r"\d+",
    window="|".join(
        [
            "none",
            *(
                name
                for values in CONFIGS.values()
                for name in values["study"].get("windows", {}).get("positions", {})
            ),
        ]
    ),
    fraction=r"0\.\d+|leave-one-out",
    method=r"[a-z_]+",
    checkpoint=r"[^/]+",


def stage_config(stage):
    """The narrowest slice of the configuration, as JSON: its changes rerun the stage."""
    return lambda wildcards: settings(CONFIGS[wildcards.experiment], stage)


def stage_source(stage):
    """The digest of the stage's modules: editing them reruns the stage."""
    return lambda wildcards: source(CONFIGS[wildcards.experiment], stage)


def memory(mb):
    """Memory in MB, more at each new attempt after a job was killed for it."""
    return lambda wildcards, attempt: mb * attempt


def gpus(wildcards):
    """GPUs of a job that profits from one, as the experiment's size asks."""
    return CONFIGS[wildcards.experiment]["execution"]["gpu"]


def config_of(experiment, stage):
    """`stage_config` for a figure or table of one experiment, whose file name has no experiment in it."""
    return lambda wildcards: settings(CONFIGS[experiment], stage)


def source_of(experiment, stage):
    """`stage_source` for a figure or table of one experiment."""
    return lambda wildcards: source(CONFIGS[experiment], stage)


def first_of(*experiments):
    """The first of these experiments that was asked for: a figure or table of several takes its options from there."""
    return next((name for name in experiments if name in CONFIGS), experiments[0])


def having(*keys):
    """The experiments that were asked for and have these options."""
    found = []
    for name, values in CONFIGS.items():
        for key in keys:
            values = values.get(key, {})
        if values:
            found.append(name)
    return found


def dataset(wildcards):
    """The experiment's data set, if its data come from outside."""
    values = CONFIGS[wildcards.experiment]
    return f"{RESULTS}/{wildcards.experiment}/data.zarr" if "source" in values["data"] else []


def grokking_files(pattern, *keys):
    """Files of the grokking run, one for each item of a list in its configuration, asked for at run time."""

    def files(wildcards):
        items = CONFIGS["grokking"]
        for key in keys:
            items = items[key]
        return [f"{RESULTS}/grokking/{pattern.format(item)}" for item in items]

    return files


def windows(*names):
    """Window stores of the grokking run, in order of time."""
    return expand(f"{RESULTS}/grokking/windows/{{name}}.zarr", name=names)


CHECKPOINTS = {name: checkpoint_names(CONFIGS[name]) for name in having("checkpoints")}


def own_checkpoints(experiment):
    """Does the workflow itself train the language model whose checkpoints are explained?"""
    return experiment in CHECKPOINTS and CONFIGS[experiment]["checkpoints"]["source"] == "trained"


def trained_checkpoints(wildcards):
    """The folder of our own training's checkpoints; nothing where they come from elsewhere."""
    folder = f"{RESULTS}/{wildcards.experiment}/checkpoints"
    return folder if own_checkpoints(wildcards.experiment) else []


def explained(folder, experiment, group=None):
    """Stores of every checkpoint, or of those that a study's stride keeps; an interval needs a next checkpoint."""
    names = CHECKPOINTS.get(experiment, [])
    if group == "intervals":
        names = names[:-1] if own_checkpoints(experiment) else []
    stride = CONFIGS[experiment]["study"][group]["stride"] if group and names else 1
    return [f"{RESULTS}/{experiment}/{folder}/{name}.zarr" for name in names[::stride]]
