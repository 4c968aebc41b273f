"""Data attribution by other methods, all from the library dattri, on the same model and the checkpoints of the same run.

Every method scores how much a training sample raises the log-probability of a test sample's true class:

trak                 single-model TRAK at θ_T (Park et al., 2023), random projections
tracin               TracIn (Pruthi et al., 2020): Σ over checkpoints of learning rate × gradient products, no projection
gradient_dot         the gradient product at θ_T alone
influence_function   influence functions at θ_T (Schioppa et al., 2022): leading eigenvectors, by Arnoldi iteration, of the
                     Hessian of the first training samples' mean loss
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import xarray as xr
from torch import Tensor
from torch.func import functional_call
from torch.utils.data import DataLoader, TensorDataset

from explaind.config.declarations import Stage
from explaind.errors import DataError
from explaind.experiments.experiment import Experiment
from explaind.experiments.runs import open_run
from explaind.recording.trajectory import Trajectory
from explaind.store import write_dataset

__all__ = ["score", "write"]

STAGE = Stage(
    options=("study.attribution.tests", "study.datamodel"),
    without=(
        "study.datamodel.fractions",
        "study.datamodel.leave_one_out",
        "study.datamodel.subsets",
        "study.datamodel.seeds",
        "study.datamodel.methods",
        "study.datamodel.resamples",
    ),
    requires="study.datamodel",
    each="methods",
    memory=8000,
    runtime=240,
    priority=4,
)

BATCH_BYTES = 256 << 20  # of one batch's gradients


def write(config: Mapping[str, Any], *, trajectory: Path, method: str, output: Path) -> None:
    """Write the scores (train, test) of one method as a store "baseline".

    Args:
        config: `study.attribution.tests` and `study.datamodel.{projection,checkpoints,eigenvectors,iterations,seed}`.
        trajectory: the recorded run.
        method: see the module.
        output: the store to write.
    """
    run, experiment = open_run(trajectory)
    tests = config["study"]["attribution"]["tests"]
    scores = score(run, experiment, method, tests, config["study"]["datamodel"])
    dataset = xr.Dataset(
        {"score": (("train", "test"), scores.numpy().astype(np.float32))},
        attrs={"method": method},
    )
    write_dataset(dataset, output, kind="baseline")


def score(
    run: Trajectory, experiment: Experiment, method: str, tests: int, options: Mapping[str, Any]
) -> Tensor:
    """Scores [N, tests]; a larger one means that the training sample raises the log-probability of the true class more."""
    size = run.layout.size
    batch = max(16, BATCH_BYTES // (4 * size))
    train = DataLoader(TensorDataset(*experiment.train), batch_size=min(batch, len(experiment.train[1])))
    test = DataLoader(
        TensorDataset(*(part[:tests] for part in experiment.test)), batch_size=min(batch, tests)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the library's own notes
        scores = _METHODS[method](run, experiment, options, train, test).detach()
    if not bool(torch.isfinite(scores).all()):
        raise DataError(
            f"The method {method} gave scores that are not finite.",
            remedy="For influence functions, lower study.datamodel.eigenvectors: small eigenvalues may come out negative.",
        )
    return scores


def _trak(
    run: Trajectory, experiment: Experiment, options: Mapping[str, Any], train: DataLoader, test: DataLoader
) -> Tensor:
    from dattri.algorithm.trak import TRAKAttributor

    model = experiment.model
    # TRAK's model output, log(p / (1 − p)) of the true class; here through log p, so that a confident model stays finite.
    margin = _per_sample(model, lambda logp: logp - torch.log((-torch.expm1(logp)).clamp_min(1e-12)))
    probability = _per_sample(model, torch.exp)
    attributor = TRAKAttributor(
        task=_task(model, margin, [_checkpoint(run, run.n_steps)]),
        correct_probability_func=probability,
        projector_kwargs=_projection("normal", options),
    )
    attributor.cache(train)
    return attributor.attribute(test)


def _tracin(
    run: Trajectory, experiment: Experiment, options: Mapping[str, Any], train: DataLoader, test: DataLoader
) -> Tensor:
    """Checkpoints at the middle of equal stretches of the run, each weighed by the learning rates of its stretch."""
    count = min(options["checkpoints"], run.n_steps)
    edges = [round(i * run.n_steps / count) for i in range(count + 1)]
    middles = [(first + last) // 2 for first, last in itertools.pairwise(edges)]
    rates = [sum(run.step(s).lr[0] for s in range(first, last)) for first, last in itertools.pairwise(edges)]
    return _products(run, experiment, options, middles, rates, train, test)


def _gradient_dot(
    run: Trajectory, experiment: Experiment, options: Mapping[str, Any], train: DataLoader, test: DataLoader
) -> Tensor:
    return _products(run, experiment, options, [run.n_steps], [1.0], train, test)


def _products(
    run: Trajectory,
    experiment: Experiment,
    options: Mapping[str, Any],
    steps: list[int],
    weights: list[float],
    train: DataLoader,
    test: DataLoader,
) -> Tensor:
    """Σ_c w_c ∇log p_y(x)·∇log p_y(x_k): both sides are log-probabilities, so a helpful sample scores above zero."""
    from dattri.algorithm.tracin import TracInAttributor

    likelihood = _per_sample(experiment.model, lambda logp: logp)
    task = _task(experiment.model, likelihood, [_checkpoint(run, s) for s in steps])
    attributor = TracInAttributor(
        task=task,
        weight_list=torch.tensor(weights),
        normalized_grad=False,
        projector_kwargs=_projection("identity", options),
    )
    return attributor.attribute(train, test)


def _influence_function(
    run: Trajectory, experiment: Experiment, options: Mapping[str, Any], train: DataLoader, test: DataLoader
) -> Tensor:
    from dattri.algorithm.influence_function import IFAttributorArnoldi

    model = experiment.model

    def mean_loss(params: dict[str, Tensor], data: tuple[Tensor, Tensor]) -> Tensor:
        inputs, targets = (
            part if part.dim() > floor else part.unsqueeze(0)
            for part, floor in zip(data, _dims(experiment), strict=True)
        )
        return experiment.loss(functional_call(model, params, (inputs,)), targets)

    few = DataLoader(
        TensorDataset(*(part[: options["hessian_samples"]] for part in experiment.train)),
        batch_size=options["hessian_samples"],
    )
    attributor = IFAttributorArnoldi(
        task=_task(model, mean_loss, [_checkpoint(run, run.n_steps)]),
        proj_dim=options["eigenvectors"],
        max_iter=options["iterations"],
        seed=options["seed"],
    )
    attributor.cache(few)
    # The library scores the samples it has cached; the projection alone needed few of them.
    attributor.full_train_dataloader = None
    return attributor.attribute(train, test)


_METHODS = {
    "trak": _trak,
    "tracin": _tracin,
    "gradient_dot": _gradient_dot,
    "influence_function": _influence_function,
}


def _task(model: torch.nn.Module, function: Any, checkpoints: list[dict[str, Tensor]]) -> Any:
    from dattri.task import AttributionTask

    return AttributionTask(loss_func=function, model=model, checkpoints=checkpoints)


def _per_sample(model: torch.nn.Module, of: Any) -> Any:
    """(params, (input, target)) → a function of the log-probability of the true class, of one sample."""

    def function(params: dict[str, Tensor], data: tuple[Tensor, Tensor]) -> Tensor:
        x, y = data
        logp = functional_call(model, params, (x.unsqueeze(0),)).gather(-1, y.reshape(1, 1))
        return of(logp.squeeze())

    return function


def _checkpoint(run: Trajectory, s: int) -> dict[str, Tensor]:
    """θ_s by name, with the constants that the run never moved."""
    return {
        **run.constants,
        **{name: value.clone() for name, value in run.layout.unflatten(run.parameters(s)).items()},
    }


def _projection(kind: str, options: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "proj_dim": options["projection"],
        "proj_max_batch_size": 32,
        "proj_seed": options["seed"],
        "proj_type": kind,
        "device": "cpu",
    }


def _dims(experiment: Experiment) -> tuple[int, int]:
    """Dimensions of one input and of one target."""
    return experiment.train[0].dim() - 1, experiment.train[1].dim() - 1
