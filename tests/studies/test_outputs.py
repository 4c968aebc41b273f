"""Each choice of what is explained, on a recorded toy run: against queries of its own, and against parameters one by one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

import explaind
from explaind.config import compose
from explaind.config.studies import CHOICES
from explaind.errors import ConfigError, QueryError
from explaind.experiments.runs import open_run
from explaind.stages import certify, phases, record
from explaind.store import read_dataset
from explaind.store.files import read_json, write_json
from explaind.studies import choices, frequencies, importances, outputs

SMALL = (
    "data.modulus=7", "data.train=18", "data.test=8", "study.proportionality.tests=6", "study.runs.reduced=[]",
    "model.d_model=8", "model.hidden=12", "study.kernel.tests=6",
    "study.kernel.train=18", "train.max_steps=14", "train.seeds=[3]", "study.outputs.tests=6", "study.outputs.kernel_tests=4",
    "study.outputs.tolerance=1e-5", "study.outputs.tail_tolerance=1e-6", "study.outputs.stride=5", "study.frequencies.stride=5",
    "study.windows.reference_stop=60", "study.quadrature.tests=[8,8]",
)  # fmt: skip


@pytest.fixture(scope="module")
def toy(tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """A recorded run of 14 updates, with its configuration, certificate and phases."""
    folder = tmp_path_factory.mktemp("toy")
    config = compose("grokking", "smoke", SMALL)
    write_json({"seed": 3}, folder / "selection.json")
    trajectory, summary = folder / "trajectory.zarr", folder / "summary.json"
    record.write(
        config,
        selection=folder / "selection.json",
        trajectory=trajectory,
        summary=summary,
        metrics=folder / "m.csv",
    )
    certify.write(config, trajectory=trajectory, output=folder / "certificate.zarr")
    phases.write(config, summary=summary, output=folder / "phases.json")
    return SimpleNamespace(
        config=config,
        trajectory=trajectory,
        certificate=folder / "certificate.zarr",
        phases=folder / "phases.json",
    )


@pytest.fixture(scope="module")
def window(toy: SimpleNamespace, tmp_path_factory: pytest.TempPathFactory) -> SimpleNamespace:
    """The late window's kernel and similarity."""
    folder = tmp_path_factory.mktemp("window")
    stores = {"kernel": folder / "kernel.zarr", "similarity": folder / "similarity.zarr"}
    given = {name: getattr(toy, name) for name in ("trajectory", "certificate", "phases")}
    outputs.write(toy.config, **given, window="late", **stores)
    return SimpleNamespace(**{name: read_dataset(path, kind="window") for name, path in stores.items()})


def query(toy: SimpleNamespace, choice: str, tests: int, **options) -> object:
    """The same choice, asked for by itself: as outputs, as a module's activation, or as a function of the outputs."""
    run, experiment = open_run(toy.trajectory)
    target = {
        "log_probabilities": "output",
        "logits": "decoder",
        "true_class": lambda f, y: f.gather(-1, y[:, None])[:, 0],
    }[choice]
    _, stop = read_json(toy.phases)["windows"]["late"]
    return explaind.influence(
        run, experiment.model, experiment.loss, train=experiment.train, test=tuple(part[:tests] for part in experiment.test),
        groups=experiment.groups, steps=slice(stop - 3, stop), target=target, tolerance=1e-5, tail_tolerance=1e-6, **options,
    )  # fmt: skip


@pytest.mark.parametrize("choice", CHOICES)
def test_kernels_are_those_of_each_choice_alone(
    toy: SimpleNamespace, window: SimpleNamespace, choice: str
) -> None:
    expected = query(toy, choice, 4, keep=("layer", "test", "train")).kernel
    got = window.kernel.kernel.sel(choice=choice)
    assert got.shape == (6, 4, 18)
    # Both integrate to 1e-5 for all layers together, with other nodes; errors of single layers cancel in part.
    np.testing.assert_allclose(
        got.values, expected.transpose("layer", "test", "train").values, rtol=1e-3, atol=1e-4
    )
    assert float(abs(expected).max()) > 1e-3


@pytest.mark.parametrize("choice", CHOICES)
def test_similarities_are_cosines_of_scores_by_parameter(
    toy: SimpleNamespace, window: SimpleNamespace, choice: str
) -> None:
    scores = query(toy, choice, 6, keep=("parameter", "test")).kernel.transpose("test", "parameter").values
    run, experiment = open_run(toy.trajectory)
    names = np.repeat(run.layout.names, run.layout.sizes)
    for layer, members in experiment.groups.items():
        part = scores[:, np.isin(names, members)]
        length = np.linalg.norm(part, axis=1)
        got = window.similarity.similarity.sel(choice=choice, layer=layer).values
        np.testing.assert_allclose(got, part @ part.T / np.outer(length, length), atol=2e-3)


def test_completeness_of_each_choice(window: SimpleNamespace) -> None:
    result = window.kernel
    parts = (result.kernel.sum("train") + result.regularization).sum("layer")
    np.testing.assert_allclose(
        (result.initial + parts + result.residual).values, result.final.values, atol=1e-3
    )
    assert float(abs(result.residual).max()) < 0.05 * float(abs(result.final - result.initial).max())


def test_importances_of_log_probabilities_are_the_published_ones(
    toy: SimpleNamespace, tmp_path: Path
) -> None:
    importances.write(toy.config, trajectory=toy.trajectory, output=tmp_path / "i.csv")
    table = pd.read_csv(tmp_path / "i.csv")
    assert tuple(table.columns) == importances.COLUMNS and tuple(dict.fromkeys(table.choice)) == CHOICES
    run, experiment = open_run(toy.trajectory)
    scores = explaind.influence(
        run, experiment.model, experiment.loss, test=tuple(part[:6] for part in experiment.test),
        keep=("step", "layer"), importance=("test", "output"), groups=experiment.groups, tolerance=1e-5,
    )  # fmt: skip
    rows = table[(table.choice == "log_probabilities") & (table.layer != "all")]
    for row in rows.itertuples():
        assert row.kernel == pytest.approx(
            float(scores.kernel.sel(step=row.step, layer=row.layer)), rel=2e-3, abs=1e-4
        )
    assert sorted(set(table.step)) == [2, 7, 12]


def test_frequencies_are_those_of_the_parameters(toy: SimpleNamespace, tmp_path: Path) -> None:
    frequencies.write(toy.config, trajectory=toy.trajectory, output=tmp_path / "f.csv")
    table = pd.read_csv(tmp_path / "f.csv")
    run, experiment = open_run(toy.trajectory)
    assert sorted(set(table.step)) == [0, 5, 10, 14] and set(table.frequency) == {1, 2, 3}
    with torch.no_grad():
        torch.nn.utils.vector_to_parameters(run.parameters(14).clone(), experiment.model.parameters())
        outputs_after = experiment.model(
            experiment.test[0]
        ).double()  # log-probabilities: a constant above the logits
    angles = 2 * np.pi * 2 * np.arange(7) / 7
    rows = experiment.model.embedding.weight.detach().double().numpy()[:7]
    expected = (2 / 7) * sum(
        abs((rows[:, d] * np.exp(-1j * angles)).sum()) ** 2 for d in range(rows.shape[1])
    )
    last = table[(table.step == 14) & (table.frequency == 2)].set_index("quantity").power
    assert last["embedding.weight"] == pytest.approx(expected, rel=1e-5)
    profile = [
        np.mean(
            [float(f[(y + d) % 7]) for f, y in zip(outputs_after, experiment.test[1].tolist(), strict=True)]
        )
        for d in range(7)
    ]
    expected = (2 / 7) * abs((np.array(profile) * np.exp(-1j * angles)).sum()) ** 2
    assert last["logits"] == pytest.approx(expected, rel=1e-3)


@pytest.mark.parametrize(
    ("module", "error", "says"),
    [
        ("decodr", QueryError, "no module called 'decodr'"),
        ("linear1", ConfigError, "not the logits of the model's outputs.*12 values for 9 outputs"),
        ("linear2", ConfigError, "not the logits"),
    ],
)
def test_a_module_that_is_not_the_logits_is_refused(
    toy: SimpleNamespace, module: str, error: type[Exception], says: str
) -> None:
    run, experiment = open_run(toy.trajectory)
    with pytest.raises(error, match=says):
        choices.check_logits(run, experiment, module)


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        (["embeding.weight"], "no parameter called 'embeding.weight'"),
        (["linear1.bias"], "no row for each number"),
    ],
)
def test_a_parameter_without_rows_for_the_numbers_is_refused(
    toy: SimpleNamespace, tmp_path: Path, parameters: list[str], says: str
) -> None:
    config = {**toy.config, "study": {**toy.config["study"]}}
    config["study"]["frequencies"] = {"parameters": parameters, "stride": 5}
    with pytest.raises(ConfigError, match=says):
        frequencies.write(config, trajectory=toy.trajectory, output=tmp_path / "f.csv")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("study.outputs.choices=[logits,margin]", "each one of log_probabilities, logits, true_class"),
        ("study.outputs.choices=[logits,logits]", "without repetition"),
        ("study.outputs.kernel_tests=900", "at most the 30 test samples"),
        ("study.outputs.width=50", "at most study.windows.width, 6"),
    ],
)
def test_unknown_choices_and_sizes_are_refused_before_any_work(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        compose("grokking", "smoke", [override])
