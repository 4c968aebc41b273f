"""Running Snakemake on a copy of the project, in a folder of its own."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from explaind.config import compose_all
from explaind.config.declarations import figures, tables
from explaind.config.graph import made

ROOT = Path(__file__).parents[2]
PLANNER = Path(__file__).with_name("planner.py")
PARTS = ("Snakefile", "conf", "workflow", "explaind")


@dataclass
class Project:
    """A copy of the project that tests may change; `run` starts Snakemake on it, `dry_run` plans in one process for all tests."""

    root: Path
    planner: subprocess.Popen[str] | None = None

    def run(
        self,
        *arguments: str,
        config: tuple[str, ...] = ("scale=smoke", "experiment=grokking"),
        environment: dict[str, str] | None = None,
        cold: bool = False,
    ) -> subprocess.CompletedProcess[str]:
        """`make figures` on two cores, its standard error in `stdout`; where `cold`, plain Snakemake, whose jobs start Python."""
        snakemake = ("-m", "snakemake") if cold else ("workflow/warm.py",)
        result = subprocess.run(
            [sys.executable, *snakemake, *_command_line(arguments, config)],
            cwd=self.root,
            env=self._environment(environment),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        result.stdout += self._logs(result.stdout)
        return result

    def _logs(self, said: str) -> str:
        """The last lines of the logs of jobs that failed: a failure seen once, elsewhere, has to be understood from this."""
        named = re.findall(r"^Error in rule .*?^ +log: (\S+)", said, re.MULTILINE | re.DOTALL)
        logs = [self.root / log for log in dict.fromkeys(named)]
        return "".join(f"\n{log}:\n{log.read_text()[-1500:]}" for log in logs if log.is_file())

    def dry_run(
        self, *arguments: str, config: tuple[str, ...] = ("scale=smoke", "experiment=grokking")
    ) -> subprocess.CompletedProcess[str]:
        """As `run` with `-n`, a quarter of its time; a change of the project's Python is seen after `stop_planning`."""
        command = _command_line((*arguments, "-n"), config)
        if self.planner is None:
            self.planner = subprocess.Popen(
                [sys.executable, str(PLANNER)],
                cwd=self.root,
                env=self._environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
        print(json.dumps(command), file=self.planner.stdin, flush=True)
        reply = self.planner.stdout.readline()
        assert reply, f"the planner ended at {command}"
        return subprocess.CompletedProcess(command, *json.loads(reply))

    def stop_planning(self) -> None:
        """End the process of dry runs; the next one starts another."""
        if self.planner is not None:
            self.planner.communicate()
            self.planner = None

    def _environment(self, more: dict[str, str] | None = None) -> dict[str, str]:
        return {**os.environ, "PYTHONPATH": str(self.root), **(more or {})}

    def planned(
        self,
        targets: str | tuple[str, ...],
        *overrides: str,
        scale: str = "smoke",
        experiment: str | None = "grokking",
    ) -> dict[str, int]:
        """How many jobs of each rule a dry run of `targets` plans, for an experiment or for all of them."""
        targets = (targets,) if isinstance(targets, str) else targets
        listed = ", ".join(f'"{override}"' for override in overrides)
        chosen = (f"experiment={experiment}",) if experiment else ()
        result = self.dry_run(*targets, config=(f"scale={scale}", *chosen, f"overrides=[{listed}]"))
        return counts(result)

    def to_do(self, *overrides: str, experiment: str = "grokking") -> set[str]:
        """The rules that figures and tables still need at scale smoke."""
        planned = self.planned(("figures", "tables"), *overrides, experiment=experiment)
        return set(planned) - {"figures", "tables"}

    def check_made(self, experiments: str, *, report: bool = True) -> None:
        """Exactly the declared figures and tables of these experiments are there, and the report shows all of them."""
        configs = compose_all(experiments.strip("[]").split(","), "smoke", conf=self.root / "conf")
        results = self.root / "results"
        pictures = {one.file for one in made(figures(), configs)}
        for suffix in ("png", "pdf"):
            assert {path.stem for path in (results / "figures").glob(f"*.{suffix}")} == pictures
        declared = made(tables(), configs)
        written = {file for one in declared for file in one.files.values()}
        assert {path.stem for path in (results / "tables").glob("*.csv")} == written
        if not report:
            return
        html = (results / "report.html").read_text()
        assert all(f"{name}.png" in html for name in pictures)
        assert all(f"{one.file}.html" in html for one in declared)
        assert all(one.product.shows in html for one in (*declared, *made(figures(), configs)))


def counts(result: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """How many jobs of each rule a dry run planned."""
    assert result.returncode == 0, result.stdout
    table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", result.stdout, re.MULTILINE | re.DOTALL)
    if table is None:
        assert "Nothing to be done" in result.stdout, result.stdout
        return {}
    return {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}


def _command_line(arguments: tuple[str, ...], config: tuple[str, ...]) -> list[str]:
    return [*arguments, "--cores", "2", *(["--config", *config] if config else [])]


def copy_project(target: Path) -> Project:
    """The files that the workflow needs, without results and caches."""
    target.mkdir(parents=True, exist_ok=True)
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / part)
    return Project(target)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    """A fresh copy of the project, without results."""
    copy = copy_project(tmp_path_factory.mktemp("project"))
    yield copy
    copy.stop_planning()


@pytest.fixture
def edit(project: Project) -> Iterator[Callable[[str, str, str], None]]:
    """Replace text in one file of the copy; undone after the test."""
    saved: dict[Path, tuple[str, int]] = {}

    def replace(name: str, old: str, new: str) -> None:
        path = project.root / name
        text = path.read_text()
        saved.setdefault(path, (text, path.stat().st_mtime_ns))
        assert old in text
        path.write_text(text.replace(old, new, 1))
        project.stop_planning()

    yield replace
    project.stop_planning()
    for path, (text, time) in saved.items():
        path.write_text(text)
        os.utime(path, ns=(time, time))
