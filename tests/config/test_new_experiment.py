"""An experiment is a folder and its files in conf/: it can be added without changing any file, and composed without torch."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

OPTIONS = '''
"""Two spirals."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from explaind.config.fields import Count, Positive
from explaind.config.recorded import Recorded, Samples
from explaind.config.shared import Architecture


class Spirals(Samples):
    """Points of two spirals."""

    name: Literal["spirals"]
    noise: Positive = Field(description="standard deviation of a point")


class Network(Architecture):
    """One hidden layer."""

    name: Literal["two_layers"]
    hidden: Count = Field(description="width of the hidden layer")


class Options(Recorded):
    """Two spirals."""

    data: Spirals
    model: Network
'''
EXPERIMENT = """\
# @package _global_
defaults:
  - /optimizer: sgd_momentum
  - /train: mini_batch
  - /influence: adaptive

name: spirals
title: Two spirals
order: 3
data: {name: spirals, train: 500, test: 100, noise: 0.1}
model: {name: two_layers, hidden: 10}
select: {fallback: best}
verify: {tolerance: 1.0e-3}
"""
SCALE = "# @package _global_\nscale: default\ndata:\n  noise: 0.2\n"

#: Everything that a dry run asks of the configuration, where importing torch fails.
SCRIPT = """
import json, sys
sys.modules["torch"] = None
from explaind.config import compose, compose_all, experiments
known = experiments()
every = compose_all()
one = compose("spirals", overrides=["optimizer=adamw", "data.noise=0.3"]) if "spirals" in known else None
both = compose_all(["spirals", "mnist"], overrides="data.noise=0.4") if one else None
from explaind.config.listing import listing, page
text = page()
listed = [option.name for option, _ in listing(known[-1])]
print(json.dumps([known, list(every), one, both, text, listed]))
"""


def run(root: Path) -> list:
    environment = {**os.environ, "PYTHONPATH": str(root)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, cwd=root, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def extended(tmp_path_factory: pytest.TempPathFactory) -> list:
    """What the script says in a copy of the project with one experiment more; no file of the copy is changed."""
    root = tmp_path_factory.mktemp("project")
    for folder in ("explaind", "conf"):
        shutil.copytree(ROOT / folder, root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    files = {
        "explaind/experiments/spirals/__init__.py": "",
        "explaind/experiments/spirals/options.py": textwrap.dedent(OPTIONS),
        "conf/experiment/spirals.yaml": EXPERIMENT,
        "conf/scale/spirals/default.yaml": SCALE,
    }
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        assert not path.exists()
        path.write_text(text)
    return run(root)


def test_all_experiments_compose_without_torch() -> None:
    known, every, *_ = run(ROOT)
    assert known == every == ["grokking", "mnist", "mnist_long", "cifar2", "eurollm"]


def test_an_experiment_is_added_by_its_own_files(extended: list) -> None:
    known, every, one, both, text, _ = extended
    # Of equal order, by name.
    assert known == every == ["grokking", "mnist", "mnist_long", "spirals", "cifar2", "eurollm"]
    assert one["data"] == {"name": "spirals", "train": 500, "test": 100, "noise": 0.3}
    assert (one["optimizer"]["name"], one["suffix"], one["study"]) == ("AdamW", "_spirals", {})
    assert (both["spirals"]["data"]["noise"], both["mnist"]["data"]["train"]) == (0.4, 5120)
    assert "| `data.noise` | standard deviation of a point | a number above 0 | spirals |" in text
