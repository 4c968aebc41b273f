"""Every declared table, written from made stage outputs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import xarray as xr

from explaind.config.studies import PRUNING_METHODS
from explaind.store import write_dataset
from explaind.studies import fidelity, pruning, swap, transplant
from explaind.tables import (
    certificate,
    extrapolation,
    findings,
    findings_outputs,
    findings_pretraining,
    findings_proportionality,
    findings_pruning,
    findings_transplant,
    frequencies_table,
    lasso,
    lasso_outputs,
    lds,
    pruning_methods,
    reconstruction,
    seeds,
    sparse_steps,
    structure,
    structure_outputs,
    subsampling,
    swap_errors,
    table01_fidelity,
    text,
    timings,
    transplants,
)  # fmt: skip
from tests.studies.made_updates import STEPS, UNITS, series, term_scores, write_interval, write_updates

LAYERS = ("embedding", "att. encoder", "att. decoder", "linear 1", "linear 2", "decoder", "all")


def csv(path: Path, columns: str, *rows: tuple) -> Path:
    """A table by hand."""
    pd.DataFrame(rows, columns=columns.split()).to_csv(path, index=False)
    return path


def _updates(folder: Path) -> Path:
    return write_updates(folder / "u.zarr", series(attention=[-1, -2, -3, -4], mlp1=[-1, -1, -1, -2]))


def _interval(folder: Path) -> Path:
    batch = np.ones((2, UNITS.size))
    full = term_scores(batch, batch, batch, [10, 11], "update")
    return write_interval(folder / "i.zarr", full, batch, [1.0, 1.0], f"step-{STEPS[0]}")


def _reconstruction(folder: Path) -> Path:
    reconstruction.write(updates=_updates(folder), output=folder / "reconstruction.csv")
    return folder / "reconstruction.csv"


def _languages(folder: Path) -> Path:
    contributions = xr.Dataset(
        {
            "batch": (("train_language", "heldout_language", "component"), -np.ones((2, 2, 1))),
            "per_batch": ("train_language", [2, 1]),
        },
        coords={"train_language": ["deu", "eng"], "heldout_language": ["deu", "eng"]},
    )
    write_dataset(contributions, folder / "languages.zarr", kind="update-languages")
    return folder / "languages.zarr"


def _fidelity(results: SimpleNamespace, folder: Path) -> Path:
    stores = {"quadratures": results.quadratures, "influence": results.influence}
    fidelity.write(results.config, **stores, output=folder / "fidelity.csv")
    return folder / "fidelity.csv"


def _benchmark(folder: Path) -> Path:
    path = folder / "benchmarks" / "grokking" / "record.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"s": 1.5, "max_rss": "NA"}))
    return path


def _seeds(results: SimpleNamespace, folder: Path) -> dict[str, object]:
    run = {name: 1 for name in seeds.COLUMNS if name != "selected"}
    (folder / "summary.json").write_text(json.dumps(run))
    (folder / "selection.json").write_text(json.dumps({"seed": 1}))
    return {
        "summaries": [folder / "summary.json"],
        "metrics": [results.metrics],
        "selection": folder / "selection.json",
    }


def _datamodel(folder: Path) -> Path:
    return csv(
        folder / "datamodel.csv", " ".join(lds.COLUMNS), ("mnist", "trak", "0.5", *[0.1] * 6, 9, 8, 7, 6)
    )


def _sparse(folder: Path) -> Path:
    return csv(
        folder / "sparse.csv", "ranking order share steps agreement kl", ("random", 0, 0.5, 9, 1.0, 0.1)
    )


def write_pruned(folder: Path) -> list[Path]:
    """Three splits of the study `pruning` of one experiment, every method and intervention."""
    generator, paths = np.random.default_rng(0), []
    for split in range(3):
        rows = []
        for method in PRUNING_METHODS:
            for rest in ("zero", "initial") if not method.startswith("filters") else ("zero",):
                for fraction in (0.05, 0.3, 0.9):
                    kept = fraction * (0.9 if method.startswith("filters") else 1.0)
                    quality = kept**0.3 + 0.02 * generator.normal()
                    measures = (0.9 * quality, quality, 1.5 * (1 - kept) ** 2 + 0.01 * generator.random())
                    rows.append((method, rest, fraction, split, kept, *measures, 0.85))
        path = folder / "mnist" / "pruning" / f"{split}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        paths.append(csv(path, " ".join(pruning.COLUMNS), *rows))
    return paths


def _proportionality(folder: Path) -> dict[str, object]:
    found, points = (
        findings_proportionality.COLUMNS,
        findings_proportionality.TABLE.also_columns["points_output"],
    )
    return {
        "findings": [csv(folder / "found.csv", " ".join(found), ("mnist",) * len(found))],
        "points": [csv(folder / "points.csv", " ".join(points), ("mnist",) * len(points))],
    }


def _text(folder: Path) -> Path:
    columns = "language name part paragraphs characters bytes tokens sequences bytes_per_token"
    return csv(folder / "languages.csv", columns, ("eng", "English", "train", 1, 9, 9, 5, 7, 1.8))


MOVED = {
    "data": {"modulus": 5},
    "train": {"memorized_accuracy": 0.99, "generalized_accuracy": 0.95},
    "study": {"swap": {"combination": "outer", "resamples": 9, "seed": 0}},
}


def _transplants(folder: Path) -> list[Path]:
    """Two seeds of each combination: outer generalises at once."""
    paths = []
    for name in ("nothing", "attention", "attention_linear1", "outer"):
        rows = [
            (name, "final", 9, seed, update, 1.0, 0.5, 1.0, 0.99 * (name == "outer"))
            for seed in (1, 2)
            for update in (0, 5)
        ]
        paths.append(csv(folder / f"{name}.csv", " ".join(transplant.COLUMNS), *rows))
    return paths


def _swap(folder: Path) -> Path:
    labels = np.arange(10) % 5
    predicted = np.stack([np.stack([labels + 1, labels]), np.stack([labels, labels])]).astype(np.int16)
    dataset = xr.Dataset(
        {"predicted": (("combination", "step", "test"), predicted), "labels": ("test", labels)},
        coords={"combination": ["original", "outer"], "step": [0, 9], "test": np.arange(10)},
        attrs={"shown": {"early": 0}},
    )
    write_dataset(dataset, folder / "swap.zarr", kind="swap")
    swap.accuracies(dataset, 9, 0).to_csv(folder / "swap.csv", index=False)
    return folder / "swap.zarr"


def _findings_transplant(results: SimpleNamespace, folder: Path) -> dict[str, object]:
    paths = {"output": folder / "transplants.csv", "curves": folder / "training.csv"}
    transplants.write(MOVED, transplants=_transplants(folder), **paths)
    cyclic = folder / "cyclic.csv"
    swap_errors.write(MOVED, swap=_swap(folder), output=folder / "errors.csv", cyclic=cyclic)
    return {
        "config": MOVED, "transplants": paths["output"], "training": paths["curves"], "swapped": folder / "swap.csv",
        "cyclic": cyclic, "metrics": results.metrics, "phases": results.phases,
    }  # fmt: skip


#: Table → (stage outputs made by the fixture, a folder) → the arguments of its `write`, but for the outputs.
WRITE: dict[str, Callable[[SimpleNamespace, Path], dict[str, object]]] = {
    "certificate": lambda r, f: {"certificates": [r.certificate]},
    "extrapolation": lambda r, f: {"intervals": [_interval(f)]},
    "findings": lambda r, f: {"runs": r.runs},
    "findings_outputs": lambda r, f: {
        "importances": r.importances,
        "metrics": r.metrics,
        "phases": r.phases,
        "structure": r.structure_outputs,
        "spectra": r.spectra,
        "frequencies": r.frequencies_table,
    },
    "frequencies_table": lambda r, f: {"frequencies": r.frequencies},
    "findings_pretraining": lambda r, f: {
        "config": {"data": {"languages": ["deu", "eng"]}},
        "reconstruction": _reconstruction(f),
        "updates": f / "u.zarr",
        "languages": [_languages(f)],
    },
    "findings_pruning": lambda r, f: {"pruned": write_pruned(f)},
    "findings_transplant": _findings_transplant,
    "findings_proportionality": lambda r, f: _proportionality(f),
    "lasso_outputs": lambda r, f: {"spectra": r.spectra},
    "lasso": lambda r, f: {"periodicity": r.periodicity},
    "lds": lambda r, f: {"scores": [_datamodel(f)]},
    "pruning_methods": lambda r, f: {"pruned": write_pruned(f)},
    "reconstruction": lambda r, f: {"updates": _updates(f)},
    "seeds": _seeds,
    "sparse_steps": lambda r, f: {"sparse": _sparse(f)},
    "structure": lambda r, f: {"config": r.config, "windows": list(r.windows.values()), "phases": r.phases},
    "structure_outputs": lambda r, f: {
        "config": r.config,
        "kernels": list(r.kernels.values()),
        "similarities": list(r.similarities.values()),
        "phases": r.phases,
    },
    "subsampling": lambda r, f: {"updates": _updates(f), "intervals": [_interval(f)]},
    "swap_errors": lambda r, f: {"config": MOVED, "swap": _swap(f)},
    "table01_fidelity": lambda r, f: {"fidelities": [_fidelity(r, f)]},
    "text": lambda r, f: {"config": {"train": {"batch": 6, "mix": 0.5}}, "languages": _text(f)},
    "timings": lambda r, f: {"benchmarks": [_benchmark(f)]},
    "transplants": lambda r, f: {"config": MOVED, "transplants": _transplants(f)},
}
MODULES = {
    module.__name__.rpartition(".")[2]: module
    for module in (
        certificate, extrapolation, findings, findings_outputs, findings_pretraining,
        findings_proportionality, findings_pruning, findings_transplant, frequencies_table, lasso,
        lasso_outputs, lds, pruning_methods, reconstruction, seeds, sparse_steps, structure,
        structure_outputs, subsampling, swap_errors, table01_fidelity, text, timings, transplants,
    )
}  # fmt: skip


def write_table(name: str, results: SimpleNamespace, folder: Path) -> dict[str, Path]:
    """Write one table; its outputs by argument name."""
    outputs = {key: folder / f"{key}-of-{name}.csv" for key in ("output", *MODULES[name].TABLE.also)}
    MODULES[name].write(**WRITE[name](results, folder), **outputs)
    return outputs
