"""Training, the choice of a seed, and the recorded run, on a tiny modulus."""

from __future__ import annotations

import copy
import json

import pandas as pd
import pytest
import torch

from explaind.errors import ConfigError, TrainingError
from explaind.experiments.build import load, make_optimizer
from explaind.stages import phases, record, select, train
from explaind.training import loop
from explaind.training.loop import METRICS
from explaind.training.phases import windows

TINY = {
    "name": "grokking",
    "data": {"operation": "addition", "modulus": 7, "train": 18, "test": 8},
    "model": {"d_model": 8, "heads": 2, "hidden": 12},
    "optimizer": {"name": "AdamW", "lr": 1e-2, "weight_decay": 0.1, "betas": [0.9, 0.98], "eps": 1e-8},
    "train": {
        "seeds": [5, 2],
        "max_steps": 30,
        "batch": None,
        "drop_last": False,
        "flip": "none",
        "schedule": "constant",
        "peak_epoch": None,
        "evaluate_every": 1,
        "stop_accuracy": 1.0,
        "memorized_accuracy": 0.5,
        "generalized_accuracy": 0.95,
        "threads": 1,
    },
    "select": {"fallback": "best"},
    "study": {"windows": {"positions": {"early": 200, "late": 1850}, "width": 5, "reference_stop": 1939}},
    "execution": {"chunk_steps": 8},
}


def changed(section: str, **values) -> dict:
    config = copy.deepcopy(TINY)
    config[section].update(values)
    return config


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("seeds")
    for seed in (5, 2):
        train.write(TINY, seed=seed, metrics=folder / f"{seed}.csv", summary=folder / f"{seed}.json")
    return folder


def test_metrics_describe_the_parameters_before_each_update(trained):
    table = pd.read_csv(trained / "5.csv")
    assert tuple(table.columns) == METRICS and list(table.step) == list(range(31))
    experiment = load(TINY, seed=5)
    optimizer = make_optimizer(TINY, experiment.model)
    for step in range(3):
        outputs = experiment.model(experiment.train[0])
        loss = experiment.loss(outputs, experiment.train[1])
        test = experiment.model(experiment.test[0]).detach()
        assert table.train_loss[step] == loss.item()
        assert table.test_loss[step] == experiment.loss(test, experiment.test[1]).item()
        hits = (test.argmax(-1) == experiment.test[1]).sum().item()
        assert table.test_accuracy[step] == pytest.approx(hits / 8)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_summary_of_a_run_that_does_not_stop(trained):
    table, summary = pd.read_csv(trained / "5.csv"), json.loads((trained / "5.json").read_text())
    assert (summary["seed"], summary["steps"], summary["reached"], summary["stop_step"]) == (
        5,
        30,
        False,
        None,
    )
    first = table.step[table.train_accuracy > 0.5]
    assert summary["memorization_step"] == (first.iloc[0] if len(first) else None)


def test_training_repeats_bit_for_bit_and_restores_torch(trained, tmp_path):
    threads = torch.get_num_threads()
    train.write(TINY, seed=5, metrics=tmp_path / "m.csv", summary=tmp_path / "s.json")
    assert torch.get_num_threads() == threads and not torch.are_deterministic_algorithms_enabled()
    assert (tmp_path / "m.csv").read_bytes() == (trained / "5.csv").read_bytes()
    assert (tmp_path / "s.json").read_bytes() == (trained / "5.json").read_bytes()


def test_stopping_rule_ends_the_run_before_the_next_update(tmp_path):
    config = changed("train", stop_accuracy=0.0)  # met at θ_0 already
    train.write(config, seed=5, metrics=tmp_path / "m.csv", summary=tmp_path / "s.json")
    summary = json.loads((tmp_path / "s.json").read_text())
    assert (summary["steps"], summary["reached"], summary["stop_step"]) == (0, True, 0)
    assert len(pd.read_csv(tmp_path / "m.csv")) == 1


def test_non_finite_loss_is_an_error(tmp_path):
    with pytest.raises(TrainingError, match="training loss is (nan|inf)"):
        train.write(
            changed("optimizer", lr=1e30), seed=5, metrics=tmp_path / "m.csv", summary=tmp_path / "s.json"
        )
    assert not list(tmp_path.iterdir()), "nothing half-written"


def _summaries(folder, reached: dict[int, bool], accuracy: dict[int, float]):
    paths = []
    for seed, done in reached.items():
        paths.append(folder / f"{seed}.json")
        entry = {
            "seed": seed,
            "reached": done,
            "test_accuracy": accuracy[seed],
            "parameters_sha256": str(seed),
        }
        paths[-1].write_text(json.dumps(entry))
    return paths


@pytest.mark.parametrize(
    ("reached", "accuracy", "chosen"),
    [
        ({2: True, 5: True}, {2: 1.0, 5: 1.0}, 5),  # the order of train.seeds decides, not that of the files
        ({2: True, 5: False}, {2: 1.0, 5: 0.99}, 2),
        ({2: False, 5: False}, {2: 0.7, 5: 0.6}, 2),  # fallback
        ({2: False, 5: False}, {2: 0.6, 5: 0.6}, 5),
    ],
)
def test_select_follows_its_rule(tmp_path, reached, accuracy, chosen):
    select.write(TINY, summaries=_summaries(tmp_path, reached, accuracy), output=tmp_path / "selection.json")
    selection = json.loads((tmp_path / "selection.json").read_text())
    assert selection["seed"] == chosen and selection["parameters_sha256"] == str(chosen)
    assert ("no seed" in selection["rule"]) == (not any(reached.values()))


def test_select_refuses_in_sentences(tmp_path):
    paths = _summaries(tmp_path, {2: False, 5: False}, {2: 0.7, 5: 0.6})
    with pytest.raises(TrainingError, match="No seed reached"):
        select.write(changed("select", fallback="refuse"), summaries=paths, output=tmp_path / "o.json")
    with pytest.raises(TrainingError, match="have not been trained"):
        select.write(TINY, summaries=paths[:1], output=tmp_path / "o.json")


def test_windows_are_the_papers_at_the_papers_length():
    plan = {
        "positions": {"early": 200, "onset": 450, "middle": 1050, "late": 1850},
        "width": 50,
        "reference_stop": 1939,
    }
    config = {"study": {"windows": plan}}
    paper = {"early": (200, 250), "onset": (450, 500), "middle": (1050, 1100), "late": (1850, 1900)}
    assert windows(config, {"steps": 1939}) == paper
    assert windows(config, {"steps": 3878})["middle"] == (2100, 2150)
    assert windows(config, {"steps": 60})["late"] == (10, 60), "kept inside the run"
    with pytest.raises(ConfigError, match="too short"):
        windows(config, {"steps": 49})


def test_recorded_run_repeats_the_unrecorded_one(trained, tmp_path):
    from explaind.recording import Trajectory

    select.write(TINY, summaries=[trained / "5.json", trained / "2.json"], output=tmp_path / "selection.json")
    seed = json.loads((tmp_path / "selection.json").read_text())["seed"]
    store, summary, metrics = tmp_path / "run.zarr", tmp_path / "run.json", tmp_path / "metrics.csv"
    record.write(
        TINY, selection=tmp_path / "selection.json", trajectory=store, summary=summary, metrics=metrics
    )
    report = json.loads(summary.read_text())
    assert report["identical_to_unrecorded"] is True
    pd.testing.assert_frame_equal(pd.read_csv(metrics), pd.read_csv(trained / f"{seed}.csv"))
    trajectory = Trajectory(store)
    assert trajectory.n_steps == 30 and trajectory.config["seed"] == seed
    again = load(trajectory.config)
    flat = torch.cat([p.detach().flatten() for p in again.model.parameters()])
    assert torch.equal(flat, trajectory.parameters(0))
    phases.write(TINY, summary=summary, output=tmp_path / "phases.json")
    assert json.loads((tmp_path / "phases.json").read_text())["windows"]["late"] == [25, 30]


def test_an_interrupted_recording_continues(trained, tmp_path, monkeypatch):
    import explaind.training.loop as loop

    select.write(TINY, summaries=[trained / "5.json", trained / "2.json"], output=tmp_path / "selection.json")
    store, summary, metrics = tmp_path / "run.zarr", tmp_path / "run.json", tmp_path / "metrics.csv"
    arguments = {"trajectory": store, "summary": summary, "metrics": metrics}
    evaluate, calls = loop._evaluate, []

    def interrupted(experiment):
        calls.append(1)
        if len(calls) == 21:
            raise KeyboardInterrupt
        return evaluate(experiment)

    monkeypatch.setattr(loop, "_evaluate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        record.write(TINY, selection=tmp_path / "selection.json", **arguments)
    assert not store.exists() and not summary.exists()
    record.write(TINY, selection=tmp_path / "selection.json", **arguments)
    assert len(calls) < 21 + 31, "the committed steps are not repeated"
    assert json.loads(summary.read_text())["identical_to_unrecorded"] is True
    assert list(pd.read_csv(metrics).step) == list(range(31))


def test_a_run_stops_only_where_the_test_set_was_evaluated(monkeypatch):
    """Between evaluations the test accuracy is not known, however good the training accuracy is."""
    config = changed("train", evaluate_every=3, stop_accuracy=1.0)
    experiment = load(config, seed=2)
    found = iter([(0.1, 0.0), (0.1, 1.0)])
    monkeypatch.setattr(loop, "_score", lambda outputs, loss, targets: (0.1, 1.0))
    monkeypatch.setattr(loop, "_evaluate", lambda experiment: next(found))
    rows = list(loop.train_rows(experiment, make_optimizer(config, experiment.model), config["train"]))
    assert [row[0] for row in rows] == [0, 1, 2, 3]
