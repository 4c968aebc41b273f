"""The power of every frequency over training: in rows of parameters that belong to numbers, and in the logits.

Notation: p is the length of the cycle on which the numbers lie (the modulus of a sum; p − 1 for products, whose order is that of
discrete logarithms), k = 1…⌊p/2⌋ a frequency in whole cycles per p labels, s an update.

Parameters: a matrix W with one row for each number, at place a = 0…p−1 of the cycle (rows of other tokens are left out), has

    power_k = (2/p) Σ_d |Σ_a W[a, d] exp(−2πi k a/p)|² ,      Σ_k power_k = Σ_{a,d} (W[a, d] − W̄[d])²     (Parseval)

and half of that at k = p/2. Logits: with y the place of the label of test sample x and z(x) its logits by place, m(δ) is the mean
over tests of the logit that lies δ above the label, m(δ) = mean_x z(x)[(y + δ) mod p], and power_k = (2/p) |Σ_δ m(δ) exp(−2πi k
δ/p)|². A logit that is the same for all labels is in no m(δ), and a network that answers with a cycle has it at its frequency.

The share of a frequency is its power over that of all. White noise, with which parameters start, has equal shares, and the mean
frequency Σ k share_k = (p+1)/4. The effective number of frequencies is 1 / Σ share_k².
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from explaind.attribution.problem import make_problem
from explaind.attribution.query import Query
from explaind.config.declarations import Stage
from explaind.errors import ConfigError
from explaind.experiments.experiment import Experiment
from explaind.experiments.runs import open_run
from explaind.store.files import write_csv
from explaind.studies.choices import check_logits

__all__ = ["COLUMNS", "LOGITS", "logit_power", "row_power", "write"]

STAGE = Stage(
    options=("study.frequencies", "study.outputs.module"),
    requires=("study.frequencies", "study.outputs", "data.modulus"),
    memory=2000,
    runtime=30,
)

COLUMNS = ("quantity", "step", "frequency", "power", "share")

#: Quantity of the CSV besides the parameters' names.
LOGITS = "logits"


def write(config: Mapping[str, Any], *, trajectory: Path, output: Path) -> None:
    """Power of every frequency before every `stride`-th update, and after the last one.

    Args:
        config: `study.frequencies`, `study.outputs.module`.
        trajectory: the recorded run.
        output: CSV with `COLUMNS`; power in squared units of the parameter or logit.

    Raises:
        ConfigError: a parameter does not exist or has no row for each number; labels on no cycle; the module's
            activation is not the logits.
        QueryError: the module does not exist.
    """
    run, experiment = open_run(trajectory)
    options, numbers = config["study"]["frequencies"], _cycle(experiment)
    module = config["study"]["outputs"]["module"]
    shapes = dict(zip(run.layout.names, run.layout.shapes, strict=True))
    for name in options["parameters"]:
        _check_rows(name, shapes, int(numbers.max()) + 1)
    check_logits(run, experiment, module)
    query = Query(target=module, steps=[0])
    problem = make_problem(run, experiment.model, experiment.loss, query, test=experiment.test)
    x, y = problem.test.take(slice(None))
    labels = y.cpu().numpy()
    parts = []
    for step in sorted({*range(0, run.n_steps, options["stride"]), run.n_steps}):
        parameters = run.layout.unflatten(run.parameters(step))
        powers = {name: row_power(parameters[name].numpy(), numbers) for name in options["parameters"]}
        powers[LOGITS] = logit_power(problem.values(step, x, y).cpu().numpy(), labels, numbers)
        parts += [_rows(name, step, power) for name, power in powers.items()]
    table = pd.concat(parts).sort_values(["quantity", "step", "frequency"], kind="stable")
    write_csv(table[list(COLUMNS)], output)


def row_power(matrix: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """power_k of the rows of the numbers, `[p//2]` float64.

    Args:
        matrix: `[n, d]`, a row for each token.
        numbers: `[p]`, in the order of their cycle.
    """
    return _power(matrix[numbers].astype(np.float64))


def logit_power(logits: np.ndarray, labels: np.ndarray, numbers: np.ndarray) -> np.ndarray:
    """power_k of the mean logit by distance from the label, `[p//2]` float64.

    Args:
        logits: `[n, O]`, by token.
        labels: `[n]`, of the numbers.
        numbers: `[p]`, in the order of their cycle.
    """
    place = np.full(int(numbers.max()) + 1, -1)
    place[numbers] = np.arange(len(numbers))
    columns = numbers[(place[labels][:, None] + np.arange(len(numbers))) % len(numbers)]
    profile = np.take_along_axis(logits.astype(np.float64), columns, axis=1).mean(0)
    return _power(profile[:, None])


def _power(rows: np.ndarray) -> np.ndarray:
    """(2/p) Σ_d |DFT over the rows|² at k = 1…⌊p/2⌋, half of it at k = p/2, of rows [p, d]."""
    spectrum = 2 / len(rows) * (np.abs(np.fft.rfft(rows, axis=0)) ** 2).sum(1)[1:]
    if len(rows) % 2 == 0:
        spectrum[-1] /= 2
    return spectrum


def _cycle(experiment: Experiment) -> np.ndarray:
    """The numbers in the order in which the labels come round, `[p]`."""
    if experiment.cycle is None:
        raise ConfigError(
            "The labels of this experiment are in no cyclic order, so they have no frequencies.",
            expected="an experiment whose labels come round, like sums modulo p",
            got=experiment.name,
            remedy="Leave study.frequencies out of its configuration.",
        )
    return experiment.cycle.cpu().numpy()


def _rows(quantity: str, step: int, power: np.ndarray) -> pd.DataFrame:
    total = float(power.sum())
    share = power / total if total else np.zeros_like(power)
    frequency = np.arange(1, len(power) + 1)
    return pd.DataFrame(
        {"quantity": quantity, "step": step, "frequency": frequency, "power": power, "share": share}
    )


def _check_rows(name: str, shapes: Mapping[str, tuple[int, ...]], rows: int) -> None:
    if name not in shapes:
        raise ConfigError(
            f"The model has no parameter called {name!r}.",
            expected=", ".join(shapes),
            got=name,
            remedy="Correct study.frequencies.parameters.",
        )
    if len(shapes[name]) != 2 or shapes[name][0] < rows:
        raise ConfigError(
            f"The parameter {name!r} has no row for each number.",
            expected=f"a matrix of at least {rows} rows",
            got=f"the shape {tuple(shapes[name])}",
            remedy="Correct study.frequencies.parameters.",
        )
