"""What each stage of the workflow depends on: values of the configuration, and code.

One entry per stage, named like its rule. `settings` and `source` turn an entry into a rule's params, so that a change reruns the
stages that use it and no others. How the work is cut (`execution`), and the list of seeds for a single training, are left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from explaind.config.digest import source_digest
from explaind.config.slices import slice_config, slice_json

__all__ = ["STAGES", "Stage", "settings", "source"]


@dataclass(frozen=True)
class Stage:
    """Dotted keys of the configuration, and modules; "{name}" in a module stands for the experiment."""

    keys: tuple[str, ...]
    modules: tuple[str, ...]


#: What it takes to build an experiment's data and model.
EXPERIMENT = ("name", "data", "model")
EXPERIMENT_MODULES = ("explaind.experiments", "explaind.experiments.{name}.*")

#: What changes one training run: not which seeds there are, nor which of them is chosen.
TRAINING = (
    *EXPERIMENT,
    "optimizer",
    "train.max_steps",
    "train.stop_accuracy",
    "train.memorized_accuracy",
    "train.generalized_accuracy",
    "train.threads",
    "train.batch",
    "train.drop_last",
    "train.flip",
    "train.schedule",
    "train.peak_epoch",
    "train.evaluate_every",
)

#: What a baseline of the data study depends on, besides the run.
BASELINE = (
    "study.attribution.tests",
    *(
        f"study.datamodel.{key}"
        for key in ("projection", "checkpoints", "hessian_samples", "eigenvectors", "iterations", "seed")
    ),
)

#: What changes the training of a language model.
PRETRAINING = ("name", "data", "model", "optimizer", "train", "influence.heldout")
#: What changes the explanation of an update from a checkpoint.
UPDATE = (
    "name",
    "data.context",
    "model",
    "train.batch",
    "train.mix",
    "train.seed",
    *(
        f"checkpoints.{key}" for key in ("source", "folder", "repository", "optimizer")
    ),  # not which others there are
    "influence",
)
UPDATE_MODULES = (
    *(f"explaind.stages.explain_{what}" for what in ("update", "languages", "interval")),
    *EXPERIMENT_MODULES,
)

# The stages that explain the recorded run rebuild data and model from the configuration stored with it.
STAGES: dict[str, Stage] = {
    "data": Stage(("data.source",), ("explaind.datasets.images",)),
    "train": Stage(TRAINING, ("explaind.training.train", *EXPERIMENT_MODULES)),
    "select": Stage(
        ("train.seeds", "train.max_steps", "train.stop_accuracy", "select"), ("explaind.training.train",)
    ),
    "record": Stage(TRAINING, ("explaind.training.train", *EXPERIMENT_MODULES)),
    "phases": Stage(("study.windows",), ("explaind.training.phases",)),
    "certify": Stage(("verify",), ("explaind.attribution.certificate", *EXPERIMENT_MODULES)),
    "influence": Stage(("influence",), ("explaind.attribution.stage", *EXPERIMENT_MODULES)),
    "accumulate": Stage((), ("explaind.attribution.accumulate",)),
    "window": Stage(("study.kernel",), ("explaind.attribution.stage", *EXPERIMENT_MODULES)),
    "quadrature": Stage(("study.quadrature",), ("explaind.studies.quadrature", *EXPERIMENT_MODULES)),
    "periodicity": Stage(
        (*EXPERIMENT, "study.periodicity"), ("explaind.studies.periodicity", *EXPERIMENT_MODULES)
    ),
    "attribution": Stage(("study.attribution",), ("explaind.studies.attribution", *EXPERIMENT_MODULES)),
    "contributions": Stage(("study.examples",), ("explaind.studies.contributions", *EXPERIMENT_MODULES)),
    "baseline": Stage(BASELINE, ("explaind.studies.baseline", *EXPERIMENT_MODULES)),
    "retrain": Stage(
        (
            *TRAINING,
            "train.seeds",
            "study.datamodel.seeds",
            "study.datamodel.seed",
            "study.attribution.tests",
        ),
        ("explaind.studies.retrain", *EXPERIMENT_MODULES),
    ),
    "datamodel": Stage(
        ("name", "study.datamodel.seed", "study.datamodel.resamples"),
        ("explaind.studies.datamodel", *EXPERIMENT_MODULES),
    ),
    "sparse": Stage(("study.sparse", "influence"), ("explaind.studies.sparse", *EXPERIMENT_MODULES)),
    "fidelity": Stage(("model.name", "data.name"), ("explaind.tables.table01_fidelity",)),
    "logits": Stage(("study.logits",), ("explaind.studies.logits", *EXPERIMENT_MODULES)),
    "corpus": Stage(("data.source", "data.languages", "data.heldout"), ("explaind.text.corpus",)),
    "tokens": Stage(("data",), ("explaind.text.tokens",)),
    "pretrain": Stage(PRETRAINING, ("explaind.training.pretrain", *EXPERIMENT_MODULES)),
    "explain_update": Stage(UPDATE, UPDATE_MODULES),
    "explain_languages": Stage(UPDATE, UPDATE_MODULES),
    "explain_interval": Stage(
        (*PRETRAINING, "checkpoints.source", "study.intervals.tolerance", "study.intervals.max_nodes"),
        UPDATE_MODULES,
    ),
    "updates": Stage(("name",), ("explaind.studies.updates",)),
    "table01_fidelity": Stage((), ("explaind.tables.table01_fidelity",)),
    "certificate": Stage((), ("explaind.tables.certificate",)),
    "lasso": Stage((), ("explaind.tables.lasso",)),
    "structure": Stage(EXPERIMENT, ("explaind.tables.structure", *EXPERIMENT_MODULES)),
    "findings": Stage(("data.modulus",), ("explaind.tables.findings",)),
    "findings_logits": Stage((), ("explaind.tables.findings_logits",)),
    "lds": Stage((), ("explaind.tables.lds",)),
    "sparse_steps": Stage((), ("explaind.tables.sparse_steps",)),
    "seeds": Stage((), ("explaind.tables.seeds",)),
    "text": Stage(("train.batch", "train.mix"), ("explaind.tables.text",)),
    "reconstruction": Stage((), ("explaind.tables.reconstruction",)),
    "subsampling": Stage((), ("explaind.tables.subsampling",)),
    "extrapolation": Stage((), ("explaind.tables.extrapolation",)),
    "findings_pretraining": Stage(("data.languages",), ("explaind.tables.findings_pretraining",)),
    "fig06": Stage(("figure.dpi",), ("explaind.figures.fig06",)),
    "fig14": Stage(("figure.dpi",), ("explaind.figures.fig14",)),
    "fig15": Stage(("figure.dpi",), ("explaind.figures.fig15",)),
    "language_influence": Stage(("figure.dpi",), ("explaind.figures.language_influence",)),
    "heads": Stage(("figure.dpi",), ("explaind.figures.heads",)),
    "pretraining": Stage(("figure.dpi", "data.languages"), ("explaind.figures.pretraining",)),
    "subsampling_figure": Stage(("figure.dpi",), ("explaind.figures.subsampling_figure",)),
    "pages": Stage((), ("explaind.tables.pages",)),
    "fig03a": Stage(("figure",), ("explaind.figures.fig03a",)),
    "fig04": Stage((*EXPERIMENT, "figure.dpi"), ("explaind.figures.fig04", *EXPERIMENT_MODULES)),
    "fig05": Stage((*EXPERIMENT, "figure.dpi"), ("explaind.figures.fig05", *EXPERIMENT_MODULES)),
    "fig07": Stage(("figure.dpi",), ("explaind.figures.fig07",)),
    "fig08": Stage(("figure.dpi",), ("explaind.figures.fig08",)),
    "examples": Stage(("figure.dpi", "data"), ("explaind.figures.examples", *EXPERIMENT_MODULES)),
    "contact_sheet": Stage(("figure.dpi",), ("explaind.figures.contact_sheet",)),
    "fig09": Stage((*EXPERIMENT, "figure.dpi"), ("explaind.figures.fig09", *EXPERIMENT_MODULES)),
    "fig12": Stage(("figure.dpi",), ("explaind.figures.fig12",)),
    "fig13": Stage((*EXPERIMENT, "figure.dpi"), ("explaind.figures.fig13", *EXPERIMENT_MODULES)),
}


def settings(config: dict[str, Any], stage: str, *, nodes: int | None = None) -> str:
    """The configuration that `stage` sees, as canonical JSON.

    Args:
        config: the composed configuration.
        stage: a name in `STAGES`.
        nodes: for the fixed-node baselines, the node count of one job: the others' test counts are left out.
    """
    part = slice_config(config, *STAGES[stage].keys)
    if nodes is not None:
        quadrature = part["study"]["quadrature"]
        tests = dict(zip(quadrature["nodes"], quadrature["tests"], strict=True))[nodes]
        part["study"] = {**part["study"], "quadrature": {**quadrature, "nodes": [nodes], "tests": [tests]}}
    return slice_json(part)


def source(config: dict[str, Any], stage: str) -> str:
    """Digest of the code that `stage` runs (see `source_digest`)."""
    return source_digest(*(module.format(name=config["name"]) for module in STAGES[stage].modules))
