"""Declarations: what is read from the source text is what the modules say, and it fits functions, rules and options."""

from __future__ import annotations

import importlib
import inspect
import subprocess
import sys
from pathlib import Path

import pytest

from explaind.config import compose_all, declarations
from explaind.config.declarations import Depends, Figure, Product, Table, figures, stages, tables
from explaind.config.graph import (
    available,
    jobs_of,
    made,
    module_of,
    origins,
    product_settings,
    settings,
    source,
)
from explaind.config.jobs import JOBS
from explaind.config.slices import value_of
from explaind.errors import ConfigError

ALL: dict[str, Depends] = {**stages(), **figures(), **tables()}
PRODUCTS: dict[str, Product] = {**figures(), **tables()}


@pytest.fixture(scope="module")
def configs() -> dict[str, dict]:
    return compose_all(None, "smoke")


def test_names_are_unique_and_everything_is_found() -> None:
    assert len(ALL) == len(stages()) + len(figures()) + len(tables())
    assert {"train", "datamodel"} <= set(stages()) and "fig03a" in figures() and "lds" in tables()


@pytest.mark.parametrize("name", ALL)
def test_a_declaration_is_what_its_module_says(name: str) -> None:
    module = importlib.import_module(module_of(name))
    kind = type(ALL[name]).__name__.upper()
    said = getattr(module, kind)
    read = ALL[name]
    assert all(getattr(said, field) == getattr(read, field) for field in vars(said) if field != "room")


@pytest.mark.parametrize("name", PRODUCTS)
def test_inputs_are_the_arguments_of_the_function(name: str) -> None:
    product, module = PRODUCTS[name], importlib.import_module(module_of(name))
    function = module.draw if isinstance(product, Figure) else module.write
    arguments = inspect.signature(function).parameters
    outputs = {"stem"} if isinstance(product, Figure) else {"output", *product.also}
    assert set(product.inputs) <= set(arguments), "an input that the function does not take"
    required = {name for name, one in arguments.items() if one.default is inspect.Parameter.empty}
    given = set(product.inputs) - set(product.optional) | outputs | ({"config"} if product.options else set())
    assert required <= given, "an argument that nothing gives"
    assert ("config" in arguments) == bool(product.options), "configuration goes to those that read options"


@pytest.mark.parametrize("name", ALL)
def test_every_experiment_that_has_it_has_its_options(name: str, configs: dict) -> None:
    having = [config for config in configs.values() if available(ALL[name], config)]
    assert having, "no experiment has it"
    for config in having:
        assert all(value_of(config, key) is not None or "." in key for key in ALL[name].options)
        assert "execution" not in settings(config, ALL[name])
        assert len(source(config, name)) == 16


@pytest.mark.parametrize("name", stages())
def test_a_stage_names_jobs_and_threads_that_exist(name: str, configs: dict) -> None:
    stage = stages()[name]
    assert stage.each is None or stage.each in JOBS
    for config in configs.values():
        if available(stage, config):
            assert isinstance(stage.threads, int) or value_of(config, stage.threads) >= 1
            jobs = jobs_of(name, config)
            assert jobs and len({tuple(job.values()) for job in jobs}) == len(jobs)


def test_every_experiment_ends_in_figures_or_tables_with_files_of_their_own(configs: dict) -> None:
    everything = made(PRODUCTS, configs)
    assert {experiment for one in everything for experiment in one.experiments} == set(configs)
    assert len({one.rule for one in everything}) == len(everything)
    for one in everything:
        assert one.experiments == tuple(name for name in configs if name in one.experiments), "in their order"
        product_settings(one, configs)
        for text in (one.product.shows, one.product.caption):
            assert text.strip() == text and text


def test_a_second_experiment_of_a_kind_needs_names_of_its_own(configs: dict) -> None:
    twin = {**configs["grokking"], "name": "twin"}
    both = {"grokking": configs["grokking"], "twin": {**twin, "suffix": "_twin"}}
    files = {one.file: one.rule for one in made(figures(), both)}
    assert files["fig03a_influence"] == "fig03a" and files["fig03a_influence_twin"] == "fig03a_twin"
    with pytest.raises(ConfigError, match="Two products would share the"):
        made(figures(), {"grokking": configs["grokking"], "twin": {**twin, "suffix": ""}})


def test_checkpoints_of_others_leave_out_what_needs_our_training(configs: dict) -> None:
    own = configs["eurollm"]
    others = {**own, "checkpoints": {**own["checkpoints"], "source": "hub", "revisions": ["a", "b"]}}
    gone = {one.name for one in made(PRODUCTS, {"e": own})} - {
        one.name for one in made(PRODUCTS, {"e": others})
    }
    assert gone == {"pretraining", "subsampling_figure", "subsampling", "extrapolation"}


def test_the_jobs_of_chosen_wildcards_keep_their_order(configs: dict) -> None:
    assert jobs_of("window", configs["grokking"], "late", "early") == [
        {"window": "late"},
        {"window": "early"},
    ]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("TABLE = Table(file=name)", "malformed node"),
        ("TABLE = Table(file='a', colums={})", "colums"),  # codespell:ignore colums
    ],
)
def test_a_declaration_that_is_no_data_is_refused(
    text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "one.py").write_text(f"import torch\n{text}\n")
    monkeypatch.setattr(declarations, "PACKAGE", tmp_path)
    with pytest.raises(ConfigError, match="does not declare its table properly") as caught:
        declarations.read("room", Table)
    assert says in str(caught.value)


def test_a_source_that_nothing_makes_is_refused() -> None:
    with pytest.raises(ConfigError, match="which nothing makes"):
        origins("certfy")


def test_declarations_are_read_without_torch_or_matplotlib() -> None:
    code = (
        "import sys; from explaind.config import declarations as d; d.stages(), d.figures(), d.tables();"
        "assert not {'torch', 'matplotlib', 'pandas', 'numpy'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_declaration_in_another_form_does_not_vanish(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "room").mkdir()
    (tmp_path / "room" / "one.py").write_text("import torch\n\nTABLE: Table = Table(file='a')\n")
    monkeypatch.setattr(declarations, "PACKAGE", tmp_path)
    with pytest.raises(ConfigError, match="a line that begins with TABLE"):
        declarations.read("room", Table)


def test_files_of_second_outputs_and_rules_do_not_collide(configs: dict) -> None:
    twin = {**configs["grokking"], "name": "twin", "suffix": "_curves"}
    with pytest.raises(ConfigError, match="share the file 'seeds_curves'"):
        made(tables(), {"grokking": configs["grokking"], "twin": twin})


def test_a_product_needs_the_jobs_that_it_reads(configs: dict) -> None:
    config = configs["grokking"]
    study = {
        **config["study"],
        "windows": {**config["study"]["windows"], "positions": {"late": 5, "other": 1}},
    }
    names = {one.name for one in made(figures(), {"g": {**config, "study": study}})}
    assert "fig12" in names and not {"fig04", "fig09"} & names


def test_an_editing_of_a_tables_page_reruns_tables(configs: dict, monkeypatch: pytest.MonkeyPatch) -> None:
    digested: list[tuple[str, ...]] = []
    monkeypatch.setattr(
        "explaind.config.graph.source_digest", lambda *names, experiment: digested.append(names)
    )
    for name in ("lds", "fig07"):
        source(configs["mnist"], name)
    assert digested[0][1:] == ("explaind.tables.columns", "explaind.tables.pages") and digested[1][1:] == ()
