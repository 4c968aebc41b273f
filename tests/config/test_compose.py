"""Composition: every scale is valid, and every mistake is refused in a sentence that names it."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from explaind.config import compose, compose_all, experiments, read_overrides
from explaind.config.compose import CONF
from explaind.errors import ConfigError

EXPERIMENTS = sorted(path.stem for path in (CONF / "experiment").glob("*.yaml"))
SCALES = [
    (experiment, path.stem)
    for experiment in EXPERIMENTS
    for path in sorted((CONF / "scale" / experiment).glob("*.yaml"))
]


@pytest.mark.parametrize(("experiment", "scale"), SCALES)
def test_every_scale_is_valid_and_knows_its_name(experiment: str, scale: str) -> None:
    config = compose(experiment, scale)
    assert (config["name"], config["scale"]) == (experiment, scale)


def test_every_experiment_has_the_three_scales() -> None:
    assert {scale for _, scale in SCALES} == {"smoke", "default", "paper"}
    assert len(SCALES) == 3 * len(EXPERIMENTS)


def test_paper_values_of_grokking() -> None:
    config = compose("grokking", "paper")
    assert config["data"] == {
        "name": "modular_arithmetic",
        "operation": "addition",
        "modulus": 113,
        "train": 4000,
        "test": 2000,
    }
    assert config["optimizer"] == {
        "name": "AdamW", "lr": 1e-3, "weight_decay": 4.0, "betas": [0.9, 0.98], "eps": 1e-8
    }  # fmt: skip
    assert config["study"]["windows"]["positions"] == {
        "early": 200,
        "onset": 450,
        "middle": 1050,
        "late": 1850,
    }
    assert config["study"]["periodicity"] == {"alpha": 0.001, "periods": [2, 113]}
    assert config["select"]["fallback"] == "refuse"


def test_default_trains_and_explains_as_paper() -> None:
    default, paper = compose("grokking", "default"), compose("grokking", "paper")
    # The first seeds are enough to choose the run that is explained; `study.runs` trains all of them.
    tried = default["train"].pop("seeds")
    seeds = paper["train"].pop("seeds")
    assert tried == seeds[: len(tried)]
    assert default["study"]["runs"]["seeds"] == paper["study"]["runs"]["seeds"] == seeds
    for key in ("data", "model", "optimizer", "train", "influence"):
        assert default[key] == paper[key]


def test_overrides_change_one_value() -> None:
    assert compose("grokking", "smoke", "train.max_steps=30")["train"]["max_steps"] == 30
    assert compose("grokking", "smoke", ["optimizer.lr=1e-4"])["optimizer"]["lr"] == 1e-4


def test_an_override_of_several_experiments_reaches_those_that_have_it() -> None:
    found = compose_all(["grokking", "mnist"], "smoke", ["study.periodicity.alpha=0.5", "train.max_steps=7"])
    assert found["grokking"]["study"]["periodicity"]["alpha"] == 0.5
    assert [config["train"]["max_steps"] for config in found.values()] == [7, 7]
    with pytest.raises(ConfigError, match="no option 'train.sead'"):
        compose_all(["grokking", "mnist"], "smoke", "train.sead=7")


def test_a_choice_reaches_the_experiments_that_have_the_group() -> None:
    found = compose_all(
        ["grokking", "eurollm"], "smoke", ["checkpoints=trained", "optimizer=adamw_small_decay"]
    )
    assert [config["optimizer"]["betas"][1] for config in found.values()] == [0.999, 0.999]
    assert "checkpoints" not in found["grokking"]


def test_all_experiments_come_in_their_order() -> None:
    orders = [config["order"] for config in compose_all(scale="smoke").values()]
    assert len(orders) == len(EXPERIMENTS) and orders == sorted(orders)
    assert sorted(experiments()) == EXPERIMENTS


def test_a_broken_file_is_named(tmp_path: Path) -> None:
    conf = shutil.copytree(CONF, tmp_path / "conf")
    (conf / "experiment" / "mnist.yaml").write_text("order: [")
    assert experiments(conf)[-1] == "mnist"
    with pytest.raises(ConfigError, match=r"cannot be composed.*mnist\.yaml"):
        compose_all(conf=conf)


def test_one_seed_replaces_the_list() -> None:
    assert compose("grokking", "smoke", "train.seed=7")["train"]["seeds"] == [7]


@pytest.mark.parametrize(
    ("given", "expected"),
    [(None, []), ("", []), ("a=1", ["a=1"]), (["a=1", "b=2"], ["a=1", "b=2"]), (("a=1",), ["a=1"])],
)
def test_overrides_come_as_string_or_list(given: object, expected: list[str]) -> None:
    assert read_overrides(given) == expected


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (
            ("grok",),
            "no experiment called 'grok'. Expected: one of cifar2, eurollm, grokking, mnist, mnist_long",
        ),
        (("grokking", "tiny"), "no scale called 'tiny'. Expected: one of default, paper, smoke"),
        (("grokking", "smoke", "train.sead=3"), "no option 'train.sead'. Expected: one of train.seed"),
        (("grokking", "smoke", "trian.seed=3"), "no option 'trian.seed'"),
        (("grokking", "smoke", "optimizer=sdg"), "no optimizer called 'sdg'. Expected: one of adamw"),
        (("grokking", "smoke", "+train.extra=3"), "does not set an existing option"),
        (("grokking", "smoke", "train.seed"), "does not set an existing option"),
        (("grokking", "smoke", "scale=paper"), "chosen outside of the overrides"),
        (("grokking", "smoke", "train.max_steps=]"), "cannot be composed"),
        (("grokking", "smoke", "train.max_steps=many"), "'train.max_steps' has a value that is not allowed"),
        (("grokking", "smoke", "train.max_steps=0"), "Expected: a whole number of at least 1. Got: 0"),
        (("grokking", "smoke", "train.max_steps=true"), "Got: True"),
        (("grokking", "smoke", "train.seeds=[1,1]"), "a list without repetition"),
        (("grokking", "smoke", "optimizer.lr=.inf"), "Expected: a number above 0"),
        (
            ("grokking", "smoke", "optimizer.betas=[0.9,1.0]"),
            "a list of 2, each a number of at least 0 and below 1",
        ),
        (("grokking", "smoke", "influence.max_nodes=80"), "a power of three"),
        (("grokking", "smoke", "select.fallback=last"), "one of refuse, best"),
        (("grokking", "smoke", "data.train=1000"), "at most 91 disjoint samples"),
        (("grokking", "smoke", "model.heads=3"), "a multiple of model.heads, 3"),
        (("grokking", "smoke", "study.kernel.tests=1000"), "at most the 30 samples"),
        (("grokking", "smoke", "study.quadrature.nodes=[10]"), "study.quadrature.tests"),
        (("grokking", "smoke", "study.windows.positions.late=58"), "ends by reference_stop 60"),
        (("grokking", "smoke", "study.periodicity.periods=[9,2]"), "the first period, then the last"),
        (
            ("grokking", "smoke", "study.transplant.layers.outer=[attention]"),
            "'study.transplant.layers.outer' has a value that is not allowed. Expected: layers of the model: "
            "embedding, att. encoder",
        ),
        (("grokking", "smoke", "study.transplant.layers.outer=embedding"), "each with a list, each a text"),
        (
            ("grokking", "smoke", "study.transplant.checkpoints.outer=[finale]"),
            "memorization, transition, generalization, final, ",
        ),
        (
            ("grokking", "smoke", "study.transplant.checkpoints.outer=['61']"),
            "a checkpoint up to train.max_steps, 60. Got: '61'",
        ),
        (("grokking", "smoke", "study.transplant.checkpoints.outer=[]"), "at least one checkpoint"),
        (
            ("grokking", "smoke", "+study.transplant.checkpoints.inner=[final]"),
            "does not set an existing option",
        ),
        (("grokking", "smoke", "study.transplant.shown=[inner]"), "combinations among nothing, attention"),
        (("grokking", "smoke", "study.transplant.seeds=[101]"), "at least 2 seeds"),
        (("grokking", "smoke", "study.transplant.seeds=[101,1]"), "other seeds than those of the runs"),
        (
            ("grokking", "smoke", ["study.transplant.seeds=[101,7]", "train.seed=7"]),
            "other seeds than those of the runs",
        ),
        (("grokking", "smoke", "study.transplant.evaluate_every=21"), "at most study.transplant.updates, 20"),
        (("grokking", "smoke", "study.swap.shown=[middle]"), "two checkpoints"),
        (("grokking", "smoke", "study.swap.shown=[middle,'61']"), "a checkpoint up to train.max_steps, 60"),
        (
            ("grokking", "smoke", "study.swap.combination=nothing"),
            "a combination of study.transplant.layers that takes layers",
        ),
        (("grokking", "smoke", "study.swap.resamples=1"), "at least 2"),
        (("grokking", "smoke", "model.name=resnet"), "'model.name' has a value"),
        (("grokking", "smoke", "train=3"), "no train called '3'"),
        (("grokking", "smoke", "train.flip=horizontal"), "none, when every step sees all samples"),
        (("mnist", "smoke", "train.batch=97"), "at most the 96 samples of the training set"),
        (("mnist", "smoke", "train.flip=vertical"), "one of none, horizontal"),
        (("mnist", "smoke", "study.datamodel.fractions=[0]"), "above 0 and below 1"),
        (("mnist", "smoke", "study.datamodel.fractions=[0.5,1.2]"), "above 0 and below 1"),
        (("cifar2", "smoke", "study.datamodel.fractions=[0.1]"), "leave at least 16 samples"),
        (("cifar2", "smoke", "train.schedule=constant"), "the epoch of the highest rate"),
        (("mnist_long", "smoke", "data.heldout=0"), "held-out samples ranks the updates"),
        (("eurollm", "smoke", "train.batch=2"), "at least one sequence of each of the 3 languages"),
        (("eurollm", "smoke", "model.heads=3"), "an even multiple of model.heads, 3"),
        (("eurollm", "smoke", "model.key_value_heads=3"), "a multiple of model.key_value_heads, 3"),
        (("eurollm", "smoke", "data.tokenizer.vocabulary=301"), "at most model.vocabulary, 300"),
        (("eurollm", "smoke", "data.tokenizer.kind=file"), "the path of a tokenizer.json"),
        (
            ("eurollm", "smoke", "data.tokenizer.kind=hub"),
            "a repository on the hub with data.tokenizer.kind=hub",
        ),
        (
            ("eurollm", "smoke", "data.source.kind=folder"),
            "'data.source.folder' has a value that is not allowed",
        ),
        (("eurollm", "smoke", "data.source.kind=huggingface"), "'data.source.dataset' has a value"),
        (("eurollm", "smoke", "checkpoints.source=folder"), "ids mean other tokens in a new one"),
        (
            (
                "eurollm",
                "smoke",
                ["checkpoints.source=folder", "data.tokenizer.kind=file", "data.tokenizer.file=x"],
            ),
            "a value with checkpoints.source=folder",
        ),
        (
            (
                "eurollm",
                "smoke",
                ["checkpoints.source=hub", "data.tokenizer.kind=file", "data.tokenizer.file=x"],
            ),
            "'checkpoints.repository' has a value",
        ),
        (("eurollm", "smoke", "train.checkpoints=9"), "at most train.steps, 8"),
        (("eurollm", "smoke", "train.decay=7"), "with train.warmup at most train.steps, 8"),
        (("eurollm", "smoke", "influence.min_nodes=5"), "one of 1, 3, 7"),
        (("eurollm", "smoke", "influence.max_nodes=1"), "at most influence.max_nodes"),
        (("mnist", "smoke", "influence.tests=41"), "at most the 40 test samples"),
        (
            ("grokking", "smoke", ["train.batch=8", "train.flip=horizontal"]),
            "only images have a mirror image",
        ),
        (("mnist", "smoke", "study.attribution.tests=41"), "at most the 40 test samples"),
        (("mnist", "smoke", "study.datamodel.leave_one_out=97"), "at most the 96 training samples"),
        (("mnist", "smoke", "study.datamodel.methods=[trak,lime]"), "each one of explaind, trak, tracin"),
        (("mnist", "smoke", "study.examples.tests=13"), "at most study.attribution.tests, 12"),
        (
            ("mnist", "smoke", "data=cifar2"),
            "'data.name' has a value that is not allowed. Expected: one of mnist",
        ),
        (("mnist", "smoke", "=3"), "does not set an existing option"),
        (("mnist", "smoke", "scale/mnist=paper"), "chosen outside of the overrides"),
        (("eurollm", "smoke", "optimizer=sgd_momentum"), "'optimizer.name' has a value that is not allowed"),
    ],
)
def test_mistakes_are_refused_by_name(arguments: tuple, says: str) -> None:
    with pytest.raises(ConfigError) as caught:
        compose(*arguments)
    assert says in str(caught.value)
    assert "Remedy:" in str(caught.value)
