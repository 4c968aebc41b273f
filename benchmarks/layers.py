"""Figure 3a's decomposition against its own training: every step, 2,000 tests, 115 outputs, six layers, both terms."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from benchmarks.setting import SEED, configuration, show, timed, train
from explaind.attribution.accumulate import combine
from explaind.stages import certify, influence
from explaind.store import read_dataset


def run(folder: Path, *, steps: int = 200) -> None:
    """The first `steps` updates, and the whole run if the workflow's results are here."""
    config = {**configuration(), "seed": SEED}
    path = folder / "layers.zarr"
    _, plain = train(config, steps, None)
    experiment_config = {key: config[key] for key in ("name", "data", "model", "seed")}
    _record(experiment_config, config, steps, path)
    output = folder / "layers-part.zarr"
    certificate = folder / "layers-certificate.zarr"
    certify.write(config, trajectory=path, output=certificate)
    _, seconds = timed(
        lambda: influence.write(
            config, trajectory=path, certificate=certificate, start=0, stop=steps, output=output
        )
    )
    part = read_dataset(output, kind="influence-part")
    rows = [_row(f"first {steps} updates, here and now", plain, seconds, part)]
    results = Path("results/grokking")
    timings = Path("results/tables/timings.csv")
    if (results / "influence.zarr").exists() and timings.exists():
        whole = read_dataset(results / "influence.zarr", kind="influence")
        jobs = pd.read_csv(timings).query("experiment == 'grokking'").groupby("rule").seconds.sum()
        rows.append(_row("whole run, jobs of results/", jobs["record"], jobs["influence"], whole))
    columns = (
        "what",
        "training, s",
        "decomposition, s",
        "ratio",
        "nodes",
        "worst residual of a step",
        "s a node",
    )
    show("figure 3a: at most 2 × its own training, worst residual 0.01, at most 2.5 nodes", columns, rows)
    show("parts add up", ("parts", "largest |residual|"), [(1, float(abs(combine([part]).residual).max()))])


def _record(experiment_config: dict, config: dict, steps: int, path: Path) -> None:
    import explaind
    from explaind.experiments.build import load, make_optimizer

    experiment = load(config, seed=SEED)
    optimizer = make_optimizer(config, experiment.model)
    inputs, targets = experiment.train
    with explaind.record(path, experiment.model, optimizer, config=experiment_config) as recorder:
        for _ in range(steps):
            optimizer.zero_grad()
            experiment.loss(experiment.model(inputs), targets).backward()
            recorder.batch(range(len(inputs)))
            optimizer.step()


def _row(what: str, training: float, seconds: float, part) -> tuple:
    nodes = part.attrs["nodes_mean"]
    steps = part.sizes["step"]
    return (what, training, seconds, seconds / training, nodes, part.attrs["quadrature_error_worst"],
            seconds / steps / nodes)  # fmt: skip
