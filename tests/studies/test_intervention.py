"""Interventions: exact where they must be, predicted as the definition says, made again as another loop makes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from explaind.errors import ConfigError, TrainingError
from explaind.experiments.experiment import Experiment, parameters_by_layer
from explaind.studies.counterfactual import Counterfactual
from explaind.studies.effects import repeated
from explaind.studies.intervention import act_on_groups, act_on_samples
from explaind.studies.left_out import make_sets, sample_scores
from explaind.studies.parts import enough, make_parts
from tests.attribution.tiny import Net, Run, record_run

OPTIONS: dict[str, Any] = {
    "kinds": ["layer", "neuron", "parameter"],
    "units": ["first", "second"],
    "neurons": 5,
    "parameters": 6,
    "retrained": 2,
    "shares": [0.3],
    "sets": 5,
    "tests": 3,
    "tolerance": 1e-9,
    "max_nodes": 243,
    "seed": 7,
}
START, STOP = 3, 8
BATCHES = [[0, 1, 2, 3], [4, 5, 6], [2, 0, 5], [6, 1, 3, 4], [0, 2, 4, 6], [1, 3, 5], [0, 1, 5, 6], [2, 3, 4]]


class Linear(nn.Module):
    """A model that is linear in its parameters."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.first(x)


def linear_loss(outputs: Tensor, targets: Tensor) -> Tensor:
    """Minus the mean output of the true class: no curvature anywhere."""
    return -outputs.gather(-1, targets[:, None]).mean()


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=3e-2, weight_decay=0.5, betas=(0.8, 0.95))


def recorded(folder: Path, *, linear: bool = False) -> tuple[Run, Counterfactual]:
    model, loss = (Linear(), linear_loss) if linear else (Net(), F.cross_entropy)
    run = record_run(folder / "run.zarr", adamw, loss=loss, model=model, batches=BATCHES)
    experiment = Experiment(
        name="tiny",
        seed=0,
        make_model=lambda seed: model,
        model=run.model,
        loss=loss,
        train=run.train,
        test=run.test,
        groups=parameters_by_layer(run.model),
        train_key=run.train[1],
        test_key=run.test[1],
        classes=3,
    )
    return run, Counterfactual(run.trajectory, experiment, START, STOP)


def rows_of(counterfactual: Counterfactual) -> tuple[dict[str, dict[str, Tensor]], list[tuple]]:
    run, experiment = counterfactual.run, counterfactual.experiment
    units = [name for name, _ in experiment.model.named_children()]
    options = {**OPTIONS, "units": units}
    parts = {kind: make_parts(kind, experiment, run.layout, options, 0) for kind in OPTIONS["kinds"]}
    return parts, list(act_on_groups(counterfactual, parts, OPTIONS))


def test_on_a_linear_loss_the_scores_are_the_effects(tmp_path: Path) -> None:
    """Nothing bends, and no gradient depends on θ: all but a kernel that is removed under decay is exact."""
    _, counterfactual = recorded(tmp_path, linear=True)
    _, rows = rows_of(counterfactual)
    effects = {}
    for intervention, term, kind, name, _, predicted, measured, local in rows:
        if (intervention, term) == ("remove, retrained", "kernel"):
            continue  # the decay of what was not learned is missing too
        assert measured == pytest.approx(predicted, abs=1e-12), (intervention, term, kind, name)
        effects[intervention, term] = max(effects.get((intervention, term), 0), abs(measured))
        if local is not None:
            assert local == pytest.approx(measured, abs=1e-12)
    assert len(effects) == 5
    assert all(size > 1e-4 for (intervention, _), size in effects.items() if intervention != "none")


def test_predictions_are_those_of_the_definition(tmp_path: Path) -> None:
    run, counterfactual = recorded(tmp_path)
    parts, rows = rows_of(counterfactual)

    def losses(theta: dict[str, Tensor]) -> Tensor:
        outputs = torch.func.functional_call(run.model, theta, (run.test[0],))
        return F.cross_entropy(outputs, run.test[1], reduction="none")[:, None]

    truth = run.reference(losses, start=START, stop=STOP)
    score = {
        "kernel": truth.influence.sum((0, 2)).mean((1, 2)),
        "regularization": truth.regularization.sum(0).mean((1, 2)),
    }
    score["all"] = score["kernel"] + score["regularization"]
    seen = 0
    for intervention, term, kind, name, size, predicted, measured, local in rows:
        if intervention == "none":
            assert abs(measured) < 1e-12
            continue
        where = parts[kind][name]
        assert size == len(where)
        assert predicted == pytest.approx(-score[term][where].sum().item(), abs=1e-8)
        if intervention == "reset" and kind == "parameter":  # small: first order at the window's end
            assert local == pytest.approx(measured, rel=0.15, abs=1e-5)
        seen += 1
    assert seen == 3 * (2 + 5 + 6) + 2 * (2 + 2)
    # Samples: what entered before the window is not counted.
    samples = sample_scores(counterfactual, run.test, OPTIONS)
    expected = truth.seen[START:STOP].sum((0, 1)).mean((1, 2))
    torch.testing.assert_close(samples, expected, atol=1e-8, rtol=0)
    assert (samples - truth.influence.sum((0, 1)).mean((1, 2))).abs().max() > 1e-4


def test_measured_effects_are_those_of_the_changed_parameters(tmp_path: Path) -> None:
    run, counterfactual = recorded(tmp_path)
    parts, rows = rows_of(counterfactual)
    first, last = (run.trajectory.parameters(s) for s in (START, STOP))

    def loss(theta: Tensor) -> float:
        named = run.trajectory.layout.unflatten(theta)
        return F.cross_entropy(
            torch.func.functional_call(run.model, named, (run.test[0],)), run.test[1]
        ).item()

    for intervention, _, kind, name, _, _, measured, _ in rows:
        if intervention == "reset":
            changed = last.clone()
            changed[parts[kind][name]] = first[parts[kind][name]]
            assert measured == pytest.approx(loss(changed) - loss(last), abs=1e-12)


@pytest.mark.parametrize("change", ["nothing", "kernel", "regularization", "samples"])
def test_a_window_is_made_again_as_a_plain_loop_makes_it(change: str, tmp_path: Path) -> None:
    """From θ_0 on, textbook AdamW; the change acts from the window's start on, in one layer."""
    run, counterfactual = recorded(tmp_path)
    layout = run.trajectory.layout
    where = torch.cat(
        [torch.arange(layout.slices()[n].start, layout.slices()[n].stop) for n in layout.names[:2]]
    )
    group = torch.zeros(layout.size, dtype=torch.bool)
    group[where] = True
    out = torch.tensor([1, 4])
    theta = run.trajectory.parameters(0).clone()
    m, v = torch.zeros_like(theta), torch.zeros_like(theta)
    for s, batch in enumerate(BATCHES):
        leaf = theta.clone().requires_grad_()
        outputs = torch.func.functional_call(run.model, layout.unflatten(leaf), (run.train[0][batch],))
        each = F.cross_entropy(outputs, run.train[1][batch], reduction="none") / len(batch)
        changed = s >= START
        if change == "samples" and changed:
            each = each * ~torch.isin(torch.tensor(batch), out)
        (g,) = torch.autograd.grad(each.sum(), leaf)
        m, v = 0.8 * m + 0.2 * g, 0.95 * v + 0.05 * g**2
        step = -3e-2 * (m / (1 - 0.8 ** (s + 1))) / ((v / (1 - 0.95 ** (s + 1))).sqrt() + 1e-8)
        decay = -3e-2 * 0.5 * theta
        if change in ("kernel", "regularization") and changed:
            (step if change == "kernel" else decay)[group] = 0
        theta = theta + step + decay
    arguments = {
        "nothing": {},
        "samples": {"without": out},
        "kernel": {"term": "kernel", "group": where},
        "regularization": {"term": "regularization", "group": where},
    }[change]
    again = counterfactual(**arguments)
    torch.testing.assert_close(again, theta, atol=1e-10, rtol=0)
    recorded_end = run.trajectory.parameters(STOP)
    assert ((again - recorded_end).abs().max() < 1e-10) == (change == "nothing")


def test_sets_are_random_or_ranked_and_of_the_samples_that_were_seen(tmp_path: Path) -> None:
    _, counterfactual = recorded(tmp_path)
    score = torch.tensor([0.3, -0.2, 0.1, 0.0, -0.5, 0.2, 0.4], dtype=torch.float64)
    sets = make_sets(score, counterfactual, OPTIONS)
    kinds = [kind for kind, _ in sets]
    assert kinds.count("random samples") == 5 and kinds.count("ranked samples") == 5
    assert all(len(one.unique()) == 2 for one in sets.values())
    assert set(sets["ranked samples", "0.3, most helpful"].tolist()) == {4, 1}
    assert set(sets["ranked samples", "0.3, most harmful"].tolist()) == {0, 6}
    narrow = Counterfactual(counterfactual.run, counterfactual.experiment, 7, 8)  # the batch 2, 3, 4
    assert {k for one in make_sets(score, narrow, OPTIONS).values() for k in one.tolist()} == {2, 3, 4}
    again = make_sets(score, counterfactual, OPTIONS)
    assert all(torch.equal(sets[key], again[key]) for key in sets)
    rows = list(act_on_samples(counterfactual, OPTIONS))
    assert len(rows) == 10 and all(abs(row[6]) > 0 for row in rows)


def test_groups_are_the_parameters_they_name(tmp_path: Path) -> None:
    run, counterfactual = recorded(tmp_path)
    layout, experiment = run.trajectory.layout, counterfactual.experiment
    named = layout.unflatten(torch.arange(layout.size))
    units = make_parts("neuron", experiment, layout, {**OPTIONS, "neurons": 99}, 0)
    assert len(units) == 4 + 3
    expected = [*named["first.weight"][2].tolist(), named["first.bias"][2].item()]
    assert units["first, unit 2"].tolist() == expected
    single = make_parts("parameter", experiment, layout, OPTIONS, 0)
    for name, where in single.items():
        tensor, _, rest = name.partition("[")
        assert named[tensor].flatten()[int(rest[:-1])] == where.item()
    assert list(single) != list(make_parts("parameter", experiment, layout, OPTIONS, 1))
    layers = make_parts("layer", experiment, layout, OPTIONS, 0)
    assert sorted(torch.cat(list(layers.values())).tolist()) == list(range(layout.size))


def test_bad_input_is_refused_in_sentences(tmp_path: Path) -> None:
    run, counterfactual = recorded(tmp_path)
    layout, experiment = run.trajectory.layout, counterfactual.experiment
    with pytest.raises(ConfigError, match="no module called 'third'.*first, second"):
        make_parts("neuron", experiment, layout, {**OPTIONS, "units": ["third"]}, 0)
    with pytest.raises(ConfigError, match="no attention heads"):
        make_parts("head", experiment, layout, OPTIONS, 0)
    with pytest.raises(ConfigError, match="no groups of parameters called 'depth'"):
        make_parts("depth", experiment, layout, OPTIONS, 0)
    with pytest.raises(ConfigError, match="too few groups of the kind 'head'.*at least 5.*2 in 2 windows"):
        enough("head", 2, 2)
    sgd = record_run(
        tmp_path / "sgd.zarr", lambda m: torch.optim.SGD(m.parameters(), lr=0.1), batches=BATCHES
    )
    with pytest.raises(ConfigError, match=r"cannot be made again.*Got: SGD"):
        Counterfactual(sgd.trajectory, experiment, START, STOP)
    clipped = record_run(tmp_path / "clipped.zarr", adamw, clip=1e-3, batches=BATCHES)
    with pytest.raises(ConfigError, match="clipped gradients"):
        Counterfactual(clipped.trajectory, experiment, START, STOP)


def test_a_window_that_does_not_repeat_is_refused(tmp_path: Path) -> None:
    _, counterfactual = recorded(tmp_path)
    other = Counterfactual(
        counterfactual.run,
        Experiment(**{**vars(counterfactual.experiment), "loss": lambda o, y: -F.cross_entropy(o, y)}),
        START,
        STOP,
    )
    with pytest.raises(TrainingError, match="made again, end elsewhere"):
        repeated(other)
