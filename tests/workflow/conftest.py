"""Running Snakemake on a copy of the project, in a folder of its own."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from explaind.config import compose_all
from explaind.config.declarations import figures, tables
from explaind.config.graph import made

ROOT = Path(__file__).parents[2]
PARTS = ("Snakefile", "conf", "workflow", "explaind")


@dataclass
class Project:
    """A copy of the project that tests may change; `run` starts Snakemake on it."""

    root: Path

    def run(
        self,
        *arguments: str,
        config: tuple[str, ...] = ("scale=smoke", "experiment=grokking"),
        environment: dict[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Snakemake on two cores; its standard error is part of `stdout`."""
        settings = ["--config", *config] if config else []
        return subprocess.run(
            [sys.executable, "-m", "snakemake", *arguments, "--cores", "2", *settings],
            cwd=self.root,
            env={**os.environ, "PYTHONPATH": str(self.root), **(environment or {})},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

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
        result = self.run(*targets, "-n", config=(f"scale={scale}", *chosen, f"overrides=[{listed}]"))
        assert result.returncode == 0, result.stdout
        table = re.search(r"^job +count\n-+ +-+\n(.*?)^total", result.stdout, re.MULTILINE | re.DOTALL)
        if table is None:
            assert "Nothing to be done" in result.stdout, result.stdout
            return {}
        return {name: int(count) for name, count in (line.split() for line in table[1].splitlines())}

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


def copy_project(target: Path) -> Project:
    """The files that the workflow needs, without results and caches."""
    for part in PARTS:
        source = ROOT / part
        if source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy2(source, target / part)
    return Project(target)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    """A fresh copy of the project, without results."""
    return copy_project(tmp_path_factory.mktemp("project"))


@pytest.fixture
def edit(project: Project) -> Callable[[str, str, str], None]:
    """Replace text in one file of the copy; undone after the test."""
    saved: dict[Path, tuple[str, int]] = {}

    def replace(name: str, old: str, new: str) -> None:
        path = project.root / name
        text = path.read_text()
        saved.setdefault(path, (text, path.stat().st_mtime_ns))
        assert old in text
        path.write_text(text.replace(old, new, 1))

    yield replace
    for path, (text, time) in saved.items():
        path.write_text(text)
        os.utime(path, ns=(time, time))
