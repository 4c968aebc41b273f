"""Synthetic stage outputs in the format of the real ones, with every finding planted: for tests alone."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from explaind.config.studies import CHOICES
from explaind.experiments.build import load
from explaind.experiments.grokking.model import LAYERS
from explaind.store import read_dataset, write_dataset
from explaind.studies import bands, periodicity, spectra
from explaind.studies.labels import samples_of
from explaind.tables import frequencies_table, structure_outputs

CONFIG = {
    "name": "grokking",
    "data": {"name": "modular_arithmetic", "operation": "addition", "modulus": 23, "train": 150, "test": 60},
    "model": {"name": "modular_transformer", "d_model": 8, "heads": 2, "hidden": 12},
    "study": {
        "periodicity": {"alpha": 0.001, "periods": [2, 23]},
        "outputs": {"choices": list(CHOICES)},
        "runs": {"settings": {"addition": []}},
    },
    "figure": {"dpi": 60, "regularization_stride": 10},
}
SEED, STEPS = 3, 400
FREQUENCY = {"early": None, "onset": 7, "middle": 5, "late": 1}


def bump(centre: float, width: float) -> np.ndarray:
    return np.exp(-0.5 * ((np.arange(STEPS) - centre) / width) ** 2)


def rise(centre: float, width: float = 15.0) -> np.ndarray:
    return 1 / (1 + np.exp(-(np.arange(STEPS) - centre) / width))


@pytest.fixture(scope="session")
def results(tmp_path_factory) -> SimpleNamespace:
    """Paths of a whole set of stage outputs, as the figures and tables take them."""
    return write_results(tmp_path_factory.mktemp("results"), CONFIG)


def write_results(folder: Path, config: dict) -> SimpleNamespace:
    paths = SimpleNamespace(
        config=config,
        metrics=folder / "metrics.csv",
        phases=folder / "phases.json",
        summary=folder / "summary.json",
        influence=folder / "influence.zarr",
        certificate=folder / "certificate.zarr",
        replay=folder / "replay.csv",
        windows={name: folder / "windows" / f"{name}.zarr" for name in FREQUENCY},
        quadratures=[folder / "quadrature" / f"{nodes}.zarr" for nodes in (100, 10)],
        periodicity=folder / "periodicity.csv",
        structure=folder / "structure.csv",
        runs=[folder / "runs" / "addition" / str(seed) for seed in (3, 4, 5)],
        kernels={name: folder / "outputs" / name / "kernel.zarr" for name in FREQUENCY},
        similarities={name: folder / "outputs" / name / "similarity.zarr" for name in FREQUENCY},
        importances=folder / "importances.csv",
        spectra=folder / "spectra.csv",
        structure_outputs=folder / "structure_outputs.csv",
        frequencies=folder / "frequencies.csv",
        frequencies_table=folder / "frequencies_table.csv",
    )
    _write_metrics(paths)
    rng = np.random.default_rng(0)
    experiment = load(config, seed=SEED)
    _write_influence(paths, experiment, rng)
    for order, (name, frequency) in enumerate(FREQUENCY.items()):
        _write_window(paths.windows[name], experiment, frequency, 100 * order, rng)
    periodicity.write(config, window=paths.windows["late"], phases=paths.phases, output=paths.periodicity)
    bands.write(config, windows=list(paths.windows.values()), phases=paths.phases, output=paths.structure)
    _write_outputs(paths)
    for run in paths.runs:
        run.parent.mkdir(parents=True, exist_ok=True)
        run.symlink_to(folder)
    return paths


def _write_metrics(paths: SimpleNamespace) -> None:
    """Memorised at step 128, generalised at 309."""
    step = np.arange(STEPS + 1)
    accuracy = {
        "train_accuracy": 1 / (1 + np.exp(-(step - 100) / 6)),
        "test_accuracy": 1 / (1 + np.exp(-(step - 280) / 10)),
    }
    loss = {
        "train_loss": 5 - 4.9 * accuracy["train_accuracy"],
        "test_loss": 5 - 4.9 * accuracy["test_accuracy"],
    }
    pd.DataFrame({"step": step, **loss, **accuracy}).to_csv(paths.metrics, index=False)
    phases = {
        "seed": SEED,
        "steps": STEPS,
        "memorization_step": 128,
        "generalization_step": 310,
        "stop_step": STEPS,
    }
    phases["windows"] = {name: [100 * i, 100 * i + 20] for i, name in enumerate(FREQUENCY)}
    paths.phases.write_text(json.dumps(phases))
    paths.summary.write_text(json.dumps({"identical_to_unrecorded": True}))
    (paths.summary.parent / "labels.json").write_text(json.dumps({"cycle": paths.config["data"]["modulus"]}))


def _write_influence(paths: SimpleNamespace, experiment, rng: np.random.Generator) -> None:
    curves = [0.02 + 0.6 * rise(330), 0.05 + bump(185, 25), 0.05 + bump(190, 25), 0.05 + 1.2 * bump(195, 25)]
    curves += [0.05 + 1.1 * bump(200, 25), 0.05 + 2 * bump(110, 15) + 1.6 * bump(240, 25)]
    kernel = 1e3 * np.stack(curves, 1)
    noise = 1 + 0.02 * rng.normal(size=kernel.shape)
    late = 1 + 0.4 * rise(320)[:, None]
    tests, outputs = len(experiment.test[1]), experiment.classes
    labels = experiment.test[1].numpy()
    final = np.where(np.arange(outputs) == labels[:, None], -0.01, -9.0)
    parts = rng.normal(size=(2, len(LAYERS), tests, outputs))
    initial, residual = rng.normal(size=(tests, outputs)) - 5, 0.02 * rng.normal(size=(tests, outputs))
    parts[0, 5] += final - initial - residual - parts.sum((0, 1))
    flat = ("test", "output")
    dataset = xr.Dataset(
        {
            "importance_kernel": (("step", "layer"), kernel * noise),
            "importance_regularization": (("step", "layer"), kernel * noise * 0.9 * late),
            "importance_kernel_all": ("step", (kernel * noise).sum(1)),
            "importance_regularization_all": ("step", (kernel * 0.9 * late).sum(1)),
            "kernel": (("layer", *flat), parts[0]),
            "regularization": (("layer", *flat), parts[1]),
            "initial": (flat, initial),
            "final": (flat, final),
            "residual": (flat, residual),
            "nodes": ("step", np.full(STEPS, 1.7)),
            "quadrature_error": ("step", np.full(STEPS, 0.01)),
        },
        coords={
            "step": np.arange(STEPS),
            "layer": list(LAYERS),
            "test": np.arange(tests),
            "output": np.arange(outputs),
        },
    )
    write_dataset(dataset, paths.influence, kind="influence")
    for path in paths.quadratures:
        nodes = int(path.stem)
        wrong = final + rng.normal(size=final.shape) / nodes
        attrs = {"nodes": nodes, "nodes_mean": float(nodes), "steps": STEPS}
        result = xr.Dataset({"predicted": (flat, wrong), "final": (flat, final)}, attrs=attrs)
        write_dataset(result.assign_coords(test=np.arange(tests)), path, kind="quadrature")
    error = 1e-7 * (1 + rng.random(STEPS))
    ledger = {"replay_error": error, "replay_relative": error, "clip_factor": np.ones(STEPS)}
    certificate = xr.Dataset({k: ("step", v) for k, v in ledger.items()}, coords={"step": np.arange(STEPS)})
    write_dataset(
        certificate.assign_attrs(passed=True, tolerance=1e-3), paths.certificate, kind="certificate"
    )
    checks = {"check": "norms", "step": np.arange(STEPS), "relative": error, "accepted": 1e-3}
    table = pd.DataFrame(checks)
    pd.concat([table, table.head(20).assign(check="gradients")]).to_csv(paths.replay, index=False)


def _write_window(
    path: Path, experiment, frequency: int | None, start: int, rng: np.random.Generator
) -> None:
    modulus = experiment.classes - 2
    rows, columns = experiment.test[1].numpy(), experiment.train[1].numpy()
    cyclic = frequency is not None

    def wave(other: np.ndarray) -> np.ndarray:
        return (
            np.cos(2 * np.pi * (frequency or 0) * np.subtract.outer(rows, other) / modulus) if cyclic else 0.0
        )

    kernels, similarities = [], []
    size, sign = np.exp(0.6 * rng.normal(size=len(columns))), rng.choice([-1.0, 1.0], size=len(columns))
    for height in range(len(LAYERS)):
        strength = height / 5 * (0.3 + start / 300)
        noise = 0.2 * rng.normal(size=(len(rows), len(columns)))
        kernels.append(10.0 ** (height - 3) * size * (sign + strength * wave(columns) + noise))
        noise = 0.05 * rng.normal(size=(len(rows), len(rows)))
        similarity = 0.05 + 0.6 * strength * wave(rows) + noise + noise.T
        np.fill_diagonal(similarity, 1)
        similarities.append(similarity.clip(-1, 1))
    dataset = xr.Dataset(
        {
            "kernel": (("layer", "test", "train"), np.stack(kernels).astype(np.float32)),
            "similarity": (("layer", "test", "test_other"), np.stack(similarities).astype(np.float32)),
        },
        coords={"layer": list(LAYERS), "test": np.arange(len(rows)), "train": np.arange(len(columns))},
        attrs={"window": [start, start + 20], "nodes_mean": 2.0},
    )
    write_dataset(dataset.assign_coords(test_other=np.arange(len(rows))), path, kind="window")


def _write_outputs(paths: SimpleNamespace) -> None:
    """Every choice as the windows are, but for log-probabilities in the late one: an indicator of equal labels in the decoder."""
    for name, window in paths.windows.items():
        result = read_dataset(window, kind="window")
        labels = samples_of(result, paths.config, paths.phases).test_labels
        similarity = xr.concat([result["similarity"]] * len(CHOICES), "choice").assign_coords(
            choice=list(CHOICES)
        )
        if name == "late":
            similarity.values[0, -1] = np.equal.outer(labels, labels)
        kernel = xr.concat([result["kernel"]] * len(CHOICES), "choice").assign_coords(choice=list(CHOICES))
        ends = {
            key: (("choice", "test"), np.full((len(CHOICES), kernel.sizes["test"]), value))
            for key, value in (("initial", -9.0), ("final", -1.0), ("residual", 0.08))
        }
        attributes = {**result.attrs, "name": name}
        decay = kernel.sum("train").rename("regularization")
        kernels = xr.Dataset({"kernel": kernel, "regularization": decay, **ends}, attrs=attributes)
        write_dataset(kernels.transpose("choice", "layer", ...), paths.kernels[name], kind="window")
        alike = xr.Dataset({"similarity": similarity}, attrs=attributes)
        write_dataset(alike.transpose("choice", "layer", ...), paths.similarities[name], kind="window")
    rows = [
        (choice, step, layer, 10 + np.sin(step / 50 + place), 9 + np.cos(step / 50 + place))
        for choice in CHOICES
        for step in range(5, STEPS, 20)
        for place, layer in enumerate((*LAYERS, "all"))
    ]
    columns = ["choice", "step", "layer", "kernel", "regularization"]
    pd.DataFrame(rows, columns=columns).to_csv(paths.importances, index=False)
    inputs = {"window": paths.windows["late"], "outputs": paths.similarities["late"], "phases": paths.phases}
    spectra.write(paths.config, **inputs, output=paths.spectra)
    stores = {"kernels": list(paths.kernels.values()), "similarities": list(paths.similarities.values())}
    structure_outputs.write(paths.config, **stores, phases=paths.phases, output=paths.structure_outputs)
    rows = []
    for step in range(0, STEPS + 1, 20):  # power concentrates, and moves to lower and lower frequencies
        peak, strongest = 0.02 * np.exp(step / 60), 11 - 10 * step // STEPS
        power = [0.1 + peak * (k == strongest) for k in range(1, 12)]
        for quantity in ("decoder.weight", "logits"):
            rows += [(quantity, step, k, one, one / sum(power)) for k, one in enumerate(power, 1)]
    pd.DataFrame(rows, columns=["quantity", "step", "frequency", "power", "share"]).to_csv(
        paths.frequencies, index=False
    )
    frequencies_table.write(frequencies=paths.frequencies, output=paths.frequencies_table)
