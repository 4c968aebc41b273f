"""The command line, from inside: what it prints, what it writes, and its three exit statuses."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import ModuleType

import numpy as np
import pandas as pd
import pytest
import torch

import explaind
from explaind.cli import main
from explaind.cli.arguments import make_parser
from explaind.errors import ReplayWarning
from explaind.store import read_dataset
from tests.attribution.tiny import Net, Run, record_run

MODULE = "a_users_training"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    make = lambda m: torch.optim.AdamW(m.parameters(), lr=0.02, weight_decay=0.3)  # noqa: E731
    return record_run(tmp_path_factory.mktemp("cli") / "run.zarr", make, steps=3)


@pytest.fixture(autouse=True)
def users_module(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module that --problem names, with problems that fit the run and others that do not."""
    module = ModuleType(MODULE)
    module.problem = lambda: (run.model, run.loss, run.train, run.test)
    module.other_data = lambda: (run.model, run.loss, (run.train[0].flip(0), run.train[1]), run.test)
    module.other_model = lambda: (torch.nn.Linear(3, 3).double(), run.loss, run.train, run.test)
    module.three = lambda: (run.model, run.loss, run.train)
    monkeypatch.setitem(sys.modules, MODULE, module)
    monkeypatch.setattr(sys, "path", list(sys.path))  # the command puts the present folder in front
    monkeypatch.setenv("COLUMNS", "200")


def explain(*words: object, problem: str = "problem") -> int:
    command, *rest = [str(word) for word in words]
    return main([command, *rest, "--problem", f"{MODULE}:{problem}"])


def test_show(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert main(["show", str(run.path)]) == 0
    shown = capsys.readouterr().out
    for words in ("complete", "AdamW", "31 float64 in 4 tensors", "7 samples, lr 0.02, weight decay 0.3"):
        assert words in shown


def test_plan(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert explain("plan", run.path, "--keep", "layer", "train", "--steps", "1:3", "--tests", 2) == 0
    shown = capsys.readouterr().out
    for words in ("directional", "2 updates × 2 test samples", "about"):
        assert words in shown


def test_influence_writes_what_python_returns(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    output = tmp_path / "scores.zarr"
    status = explain(
        "influence", run.path, "--keep", "layer", "train", "test", "--steps", "0,2", "--tests", 2,
        "--target", "margin", "--tolerance", 1e-6, "--output", output,
    )  # fmt: skip
    assert status == 0
    assert str(output) in capsys.readouterr().out.replace("\n", "")
    expected = explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=tuple(part[:2] for part in run.test),
        keep=("layer", "train", "test"), steps=[0, 2], target="margin", tolerance=1e-6,
    )  # fmt: skip
    found = read_dataset(output, kind="scores")
    assert set(found.data_vars) == set(expected.data_vars)
    for name in expected.data_vars:
        np.testing.assert_allclose(found[name].values, expected[name].values, atol=1e-14)


def test_influence_without_output_and_with_importance(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert explain("influence", run.path, "--keep", "step", "--importance", "test", "output") == 0
    shown = capsys.readouterr().out
    assert "kernel_all" in shown
    assert "pass --output" in shown
    assert explain("influence", run.path, "--keep", "--groups", "all", "--nodes", 2) == 0
    assert "2.00 nodes on average" in capsys.readouterr().out


def test_an_existing_output_is_refused_before_the_work(
    run: Run, tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "scores.zarr"
    assert explain("influence", run.path, "--output", output) == 0
    before = sorted((file, file.read_bytes()) for file in output.rglob("*") if file.is_file())
    with monkeypatch.context() as patch:
        patch.setattr("explaind.influence", lambda *_, **__: pytest.fail("the work began"), raising=False)
        assert explain("influence", run.path, "--output", output) == 2
    assert "exists already" in capsys.readouterr().err
    assert sorted((file, file.read_bytes()) for file in output.rglob("*") if file.is_file()) == before
    assert explain("influence", run.path, "--keep", "layer", "--output", output, "--overwrite") == 0
    assert read_dataset(output, kind="scores").kernel.dims == ("layer",)


def test_verify(run: Run, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert explain("verify", run.path, "--output", tmp_path / "certificate.csv") == 0
    assert "passed" in capsys.readouterr().out
    table = pd.read_csv(tmp_path / "certificate.csv")
    assert table.step.tolist() == [0, 1, 2]
    assert {"replay_error", "replay_relative", "clip_factor", "quadrature_error", "nodes"} <= set(
        table.columns
    )
    assert explain("verify", run.path, "--replay-only") == 0
    assert "quadrature" not in capsys.readouterr().out


def test_a_run_without_updates(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    model = Net().double()
    with explaind.record(tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters(), lr=0.1)):
        pass
    assert main(["show", str(tmp_path / "run.zarr")]) == 0
    for command, status in (
        ("plan", 0),
        ("influence", 0),
        ("verify", 1),
    ):  # nothing was shown, so nothing passes
        assert explain(command, tmp_path / "run.zarr") == status
    assert "nothing to certify" in capsys.readouterr().out


def test_a_certificate_that_fails_is_status_1(run: Run, capsys: pytest.CaptureFixture) -> None:
    assert explain("verify", run.path, "--replay-only", problem="other_data") == 1
    assert "FAILED" in capsys.readouterr().out
    assert explain("verify", run.path, "--tolerance", 1e-12, "--max-nodes", 1) == 1


REFUSED = {
    "no recording": (["show", "nothing.zarr"], "nothing.zarr"),
    "no problem": (["plan", "RUN"], "--problem MODULE:FUNCTION"),
    "an unknown module": (["plan", "RUN", "--problem", "no_such_module:problem"], "could not be loaded"),
    "an unknown function": (["plan", "RUN", "--problem", f"{MODULE}:nothing"], "could not be loaded"),
    "no function": (["plan", "RUN", "--problem", MODULE], "could not be loaded"),
    "three values": (["plan", "RUN", "--problem", f"{MODULE}:three"], "did not return a problem"),
    "another model": (["influence", "RUN", "--problem", f"{MODULE}:other_model"], "Expected"),
    "other data": (["influence", "RUN", "--problem", f"{MODULE}:other_data"], "cannot be rebuilt"),
    "an unknown axis": (["influence", "RUN", "--problem", f"{MODULE}:problem", "--keep", "head"], "'head'"),
    "steps in words": (
        ["plan", "RUN", "--problem", f"{MODULE}:problem", "--steps", "late"],
        "not understood",
    ),
    "steps beyond": (["plan", "RUN", "--problem", f"{MODULE}:problem", "--steps", "7:9"], "outside"),
    "an unknown target": (["plan", "RUN", "--problem", f"{MODULE}:problem", "--target", "frist"], "first"),
    "no tests": (["plan", "RUN", "--problem", f"{MODULE}:problem", "--tests", "0"], "no test samples"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_done_is_a_sentence_and_status_2(
    case: str, run: Run, capsys: pytest.CaptureFixture
) -> None:
    words, expected = REFUSED[case]
    assert main([str(run.path) if word == "RUN" else word for word in words]) == 2
    captured = capsys.readouterr()
    assert expected in captured.err
    assert "Traceback" not in captured.err
    assert captured.err.strip().endswith(".")
    assert captured.out == ""


@pytest.mark.parametrize("command", ["", "show", "plan", "influence", "verify", "explore"])
def test_help_teaches(command: str, capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as left:
        main([*command.split(), "--help"])
    assert left.value.code == 0
    shown = capsys.readouterr().out
    assert "usage: explaind" in shown
    for words in {
        "": ("exit status", "examples", "--problem"),
        "show": ("RUN",),
        "explore": ("PATH", "--problem"),
    }.get(command, ("--problem", "--steps")):
        assert words in shown


@pytest.mark.parametrize("command", ["influence", "plan", "verify"])
def test_the_options_are_the_arguments_of_the_python_function(
    command: str, capsys: pytest.CaptureFixture
) -> None:
    """Same names and same defaults; what --problem returns is no option."""
    options = vars(make_parser().parse_args([command, "RUN"]))
    function = explaind.verify if command == "verify" else explaind.influence
    arguments = dict(inspect.signature(function).parameters)
    for name in ("run", "model", "loss_fn", "train", "test", "forward", "penalty"):
        arguments.pop(name)
    for name, argument in arguments.items():
        given = options.pop(name)
        assert (tuple(given) if isinstance(given, list) else given) == argument.default, name
    own = {"command", "needs_problem", "run", "problem", "tests", "output", "overwrite", "replay_only"}
    assert set(options) <= own
    with pytest.raises(SystemExit):
        main([command, "--help"])
    shown = capsys.readouterr().out
    assert all(f"--{name.replace('_', '-')} " in shown for name in arguments)
    assert "in units of the target" in " ".join(shown.split())


def test_replay_options(run: Run, capsys: pytest.CaptureFixture) -> None:
    loose = ("--replay-tolerance", 10)
    assert explain("verify", run.path, "--replay-only", *loose, problem="other_data") == 0
    assert "tolerance 10 plus rounding" in capsys.readouterr().out
    assert explain("influence", run.path, *loose, problem="other_data") == 0
    with pytest.warns(ReplayWarning):
        assert explain("influence", run.path, "--replay", "warn", problem="other_data") == 0
    assert explain("plan", run.path, "--replay", "warn", *loose, "--tail-tolerance", 0.1) == 0


@pytest.mark.parametrize("words", [[], ["explain"], ["plan"], ["plan", "RUN", "--lineage", "both"]])
def test_a_command_that_does_not_exist_is_status_2(words: list[str], capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit) as left:
        main(words)
    assert left.value.code == 2
    assert "usage: explaind" in capsys.readouterr().err
