"""Models retrained on subsets, and pruned models, go on bit by bit from where their job was killed."""

from __future__ import annotations

from pathlib import Path

import pytest

from explaind.config import compose
from explaind.studies import pruning, retrain
from tests.experiments.fake_images import configured, recorded, write_images
from tests.runtime.attempts import FIRST, check_resumes


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict, Path]:
    """Configuration and recorded run."""
    folder = tmp_path_factory.mktemp("digits")
    config = configured("mnist", write_images(folder / "data.zarr", "mnist"))
    options = compose("mnist", "paper")["study"]["pruning"]
    config["study"]["pruning"] = options | {"fractions": [0.3, 0.6], "tests": 2, "retraining": 1}
    return config, recorded(config, folder)


def test_retraining(digits: tuple[dict, Path], tmp_path: Path, monkeypatch) -> None:
    def work(at: Path) -> None:
        retrain.write(digits[0], fraction="0.5", start=0, stop=2, output=at / FIRST)

    check_resumes(work, tmp_path / "work", monkeypatch)


def test_pruning(digits: tuple[dict, Path], tmp_path: Path, monkeypatch) -> None:
    config, run = digits
    config["study"]["pruning"] |= {
        "methods": ["random", "explaind", "magnitude", "filters"],
        "reset": ["random"],
    }
    check_resumes(
        lambda at: pruning.write(config, trajectory=run, split=0, output=at / FIRST),
        tmp_path / "work", monkeypatch,
    )  # fmt: skip
