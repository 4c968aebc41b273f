"""How a job ends: an expected problem in one sentence with status 2, any other with its traceback in the log."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "workflow" / "scripts"
HEAD = """
from types import SimpleNamespace as Namespace
import os, sys
sys.path.insert(0, {scripts!r})
from job import job, paths
snakemake = Namespace(
    threads=3, log=[{log!r}], input={{}}, output=[], resources={{}}, wildcards=Namespace(experiment="grokking"),
    params=Namespace(config='{{"name":"grokking"}}'), config={{"execution": {{"grokking": {{"part_steps": 4}}}}}},
)
with job(snakemake) as config:
"""


def _run(body: str, tmp_path: Path) -> tuple[subprocess.CompletedProcess[str], str]:
    log = tmp_path / "deep" / "job.log"
    script = HEAD.format(scripts=str(SCRIPTS), log=str(log)) + "\n".join(
        f"    {line}" for line in body.splitlines()
    )
    result = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env={**os.environ}
    )
    return result, log.read_text()


def test_the_body_sees_configuration_and_threads(tmp_path: Path) -> None:
    result, log = _run(
        "print(config, os.environ['OMP_NUM_THREADS'])\nprint('aside', file=sys.stderr)", tmp_path
    )
    assert result.returncode == 0
    assert result.stdout == result.stderr == ""
    assert log == "{'name': 'grokking', 'execution': {'part_steps': 4}} 3\naside\n"


def test_an_expected_problem_is_one_sentence_and_status_2(tmp_path: Path) -> None:
    body = "from explaind.errors import DataError\nraise DataError('The file is gone', remedy='fetch it')"
    result, log = _run(body, tmp_path)
    assert result.returncode == 2
    assert result.stderr == log == "The file is gone. Remedy: fetch it.\n"


def test_any_other_error_keeps_its_traceback_in_the_log(tmp_path: Path) -> None:
    result, log = _run("1 / 0", tmp_path)
    assert result.returncode == 1
    assert "Traceback" in log
    assert "Traceback" not in result.stderr
    assert "ZeroDivisionError: division by zero" in result.stderr


@pytest.mark.parametrize("script", sorted(SCRIPTS.glob("*.py"), key=lambda path: path.name))
def test_scripts_are_thin(script: Path) -> None:
    lines = [line for line in script.read_text().splitlines() if line.strip()]
    assert len(lines) <= (75 if script.name == "job.py" else 20)
