"""Intervals of our own run: every update is torch's, and a batch's momentum is followed exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from explaind.checkpoints import open_checkpoint
from explaind.experiments.eurollm.model import describe, sequence_losses
from explaind.experiments.language.pretraining import load
from explaind.features.quadrature import Accuracy, patterson
from explaind.features.units import make_units
from explaind.training.pretraining import Trainer
from explaind.training.reproducible import reproducible
from explaind.updates.interval import explain_interval
from tests.updates.small_run import configuration, write_tokens

ACCURACY = Accuracy(1e-3, max_nodes=3, min_nodes=3)


@pytest.fixture
def run(tmp_path: Path):
    """Configuration, experiment, and two checkpoints three updates apart."""
    config = configuration("optimizer.lr=0.01")
    experiment = load(config, write_tokens(tmp_path / "tokens.zarr"))
    with reproducible(1):
        trainer = Trainer(config, experiment)
        for step in range(5):
            if step == 2:
                trainer.save(tmp_path / "first")
            trainer.step()
        trainer.save(tmp_path / "second")
        yield config, experiment, open_checkpoint(tmp_path / "first"), open_checkpoint(tmp_path / "second")


def _explain(run):
    config, experiment, first, second = run
    units = make_units(
        {name: first.shape(name) for name in first.names()},
        lambda name, shape: describe(first.config, name, shape),
    )
    heldout, _ = experiment.heldout(2)
    trainer = Trainer(config, experiment, first)
    batch = lambda step: trainer.batch(step)[0]  # noqa: E731
    return explain_interval(
        trainer, sequence_losses, batch, second, heldout, units, ACCURACY, samples_per_pass=4
    ), units


def test_the_interval_is_the_runs_own(run) -> None:
    found, _ = _explain(run)
    assert found.attrs["arrival"] == 0, "the same batches, order of sums and updates: bit for bit"
    assert list(found["update"].values) == [2, 3, 4]
    assert float(found["replay"].max()) < 1e-3  # float32: terms are added in another order than torch's
    np.testing.assert_allclose(
        found["change"], found["score"].sum(("term", "unit")) + found["residual"], rtol=1e-12
    )
    assert float((abs(found["residual"]) / abs(found["change"])).max()) < 1e-2
    _, experiment, first, second = run
    heldout, _ = experiment.heldout(2)
    losses = []
    for checkpoint in (first, second):
        model = experiment.make_model()
        checkpoint.load_weights(model)
        with torch.no_grad():
            losses.append(float(sequence_losses(model, heldout).double().mean()))
    assert float(found["change"].sum()) == pytest.approx(losses[1] - losses[0], abs=1e-6)


def test_a_batchs_later_momentum_is_followed(run) -> None:
    """Against autograd, with the path's nodes, from the checkpoints of every update."""
    found, _ = _explain(run)
    config, experiment, first, _ = run
    heldout, _ = experiment.heldout(2)
    trainer = Trainer(config, experiment, first)
    model = trainer.model
    sequences, _ = trainer.batch(2)
    names = [name for name, _ in model.named_parameters()]

    def gradient() -> dict[str, torch.Tensor]:
        return dict(
            zip(
                names,
                torch.autograd.grad(sequence_losses(model, heldout).mean(), list(model.parameters())),
                strict=True,
            )
        )

    sequence_losses(model, sequences).mean().backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), config["train"]["clip_norm"])
    own = {name: p.grad.clone() for name, p in model.named_parameters()}
    trainer.step()
    for place, step in enumerate((3, 4), 1):
        start = {name: p.detach().clone() for name, p in model.named_parameters()}
        trainer.step()
        end = {name: p.detach().clone() for name, p in model.named_parameters()}
        options = trainer.optimizer.param_groups[0]
        total = 0.0
        for at, weight in zip(patterson.nodes(1), patterson.weights(1), strict=True):
            with torch.no_grad():
                for name, p in model.named_parameters():
                    p.copy_(start[name] + at * (end[name] - start[name]))
            g = gradient()
            for name, p in model.named_parameters():
                v = trainer.optimizer.state[p]["exp_avg_sq"]
                beta1, beta2 = options["betas"]
                scale = options["lr"] * (1 - beta1) * beta1 ** (step - 2) / (1 - beta1 ** (step + 1))
                row = scale * own[name] / ((v / (1 - beta2 ** (step + 1))).sqrt() + options["eps"])
                total -= weight * float((g[name].double() * row.double()).sum())
        with torch.no_grad():
            for name, p in model.named_parameters():
                p.copy_(end[name])
        assert float(found["later"].isel(update=place).sum()) == pytest.approx(total, rel=1e-3)
    assert float(abs(found["later"].isel(update=0)).max()) == 0
