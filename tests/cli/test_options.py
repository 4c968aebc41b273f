"""`explaind options`: the list of options, with the values of a scale."""

from __future__ import annotations

import pytest

from explaind.cli import main


def test_experiments_are_listed_in_their_order(capsys: pytest.CaptureFixture) -> None:
    assert main(["options"]) == 0
    head, *rows = (line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert head[0] == "experiment" and [row[0] for row in rows][:2] == ["grokking", "mnist"]


def test_options_with_values_of_a_scale(capsys: pytest.CaptureFixture) -> None:
    assert main(["options", "grokking", "--scale", "smoke"]) == 0
    rows = {row[0]: row[1:] for row in (line.split("\t") for line in capsys.readouterr().out.splitlines())}
    assert rows["train.max_steps"] == ["60", "a whole number of at least 1", "updates at most"]
    assert rows["train.batch"][0] == "null" and rows["optimizer.name"][1] == "one of AdamW, SGD"


def test_a_table_on_a_terminal(capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    assert main(["options", "cifar2"]) == 0
    assert "│ data.source.classes" in capsys.readouterr().out


def test_mistakes_are_one_sentence(capsys: pytest.CaptureFixture) -> None:
    assert main(["options", "grok"]) == 2
    assert "no experiment called 'grok'" in capsys.readouterr().err
    assert main(["options", "mnist", "--scale", "tiny"]) == 2
    assert "no scale called 'tiny'" in capsys.readouterr().err
