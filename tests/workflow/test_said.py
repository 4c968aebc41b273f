"""What `make figures` says: products when they are there, what failed at the end, and nothing else of a job."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

import pytest
from snakemake_interface_logger_plugins.common import LogEvent

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow"))
from snakemake_logger_plugin_explaind import Ahead, LogHandler


@pytest.fixture
def handler() -> LogHandler:
    return LogHandler(None, None)


def event(
    kind: LogEvent | None, message: str = "", level: int = logging.INFO, **facts: Any
) -> logging.LogRecord:
    return logging.makeLogRecord({"msg": message, "levelno": level, "event": kind, "created": 0.0, **facts})


def start(jobid: int, rule: str, output: str, log: str = "", **wildcards: str) -> logging.LogRecord:
    logs = [log] if log else []
    return event(
        LogEvent.JOB_INFO, jobid=jobid, rule_name=rule, output=[output], log=logs, wildcards=wildcards
    )


def test_products_and_jobs(handler: LogHandler, capsys: pytest.CaptureFixture[str]) -> None:
    for record in (
        event(LogEvent.RUN_INFO, stats={"total": 12}),
        event(None, "Select jobs to execute..."),
        start(1, "train", "results/grokking/seeds/3/summary.json", experiment="grokking", seed="3"),
        start(2, "fig04", "results/figures/fig04.pdf"),
        event(LogEvent.JOB_FINISHED, job_id=1, created=192.0),
        event(LogEvent.PROGRESS, done=1, total=12),
        event(LogEvent.JOB_FINISHED, job_id=2),
    ):
        handler.emit(record)
    said = capsys.readouterr().err
    assert "12 jobs." in said and "Select" not in said
    assert " 1 of 12  train grokking 3 (3 min 12 s)" in said
    assert " 2 of 12  results/figures/fig04.pdf" in said


def test_a_failure_is_named_again_at_the_end(
    handler: LogHandler, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    log = tmp_path / "train.log"
    log.write_text("first\n\nsecond\nthird\nThe recording is damaged. [Remedy]\n")
    handler.emit(start(1, "train", "a", str(log), seed="3"))
    facts = {"jobid": 1, "rule_name": "train", "log": [str(log)]}
    handler.emit(event(LogEvent.JOB_ERROR, "Error in rule train", logging.ERROR, **facts))
    assert "Failed: train 3." in capsys.readouterr().err
    handler.emit(event(LogEvent.ERROR, "RuleException: Command", logging.ERROR))
    assert "RuleException" not in capsys.readouterr().err
    handler.close()
    said = capsys.readouterr().err
    assert "Failed: train 3\n    second\n    third\n    The recording is damaged. [Remedy]\n" in said
    assert str(log) in said and "first" not in said


def test_an_error_that_is_no_jobs_is_said(handler: LogHandler, capsys: pytest.CaptureFixture[str]) -> None:
    handler.emit(event(LogEvent.ERROR, "There is no scale called 'smke'.", logging.ERROR))
    assert "smke" in capsys.readouterr().err


def test_what_is_left_follows_the_pace_of_the_jobs_so_far() -> None:
    ahead = Ahead({"a": 100.0, "b": 300.0, "c": 100.0}, cores=2)
    assert ahead.left() == 250
    ahead.finish(["a", "another"], 200.0)
    assert ahead.left() == 400, "twice as slow as expected"
    ahead.finish(["a"], 200.0)
    assert ahead.left() == 400, "counted once"
