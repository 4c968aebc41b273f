"""Pretraining: a language model trained on packed sequences, with its checkpoints kept as it goes."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from explaind.checkpoints import open_checkpoint
from explaind.config.checkpoints import checkpoint_name, checkpoint_steps
from explaind.config.declarations import Stage
from explaind.config.slices import slice_config, slice_json
from explaind.experiments.language.pretraining import load
from explaind.runtime.progress import track
from explaind.store.files import write_csv
from explaind.training.pretraining import Trainer
from explaind.training.reproducible import reproducible
from explaind.training.schedule import learning_rate

__all__ = ["write"]

STAGE = Stage(
    options=("name", "data", "model", "optimizer", "train", "influence.heldout"),
    requires="checkpoints",
    when={"checkpoints.source": "trained"},
    threads="train.threads",
    memory=4000,
    runtime=240,
    gpu=True,
    priority=9,
    note="continues from its last checkpoint",
)

LOGS = ("metrics", "losses")


def write(config: Mapping[str, Any], *, tokens: Path, checkpoints: Path, metrics: Path, losses: Path) -> None:
    """Train, and keep a checkpoint at every step of `checkpoint_steps(config)`.

    What was interrupted continues from its last checkpoint, which waits beside `checkpoints` in a folder named by the
    configuration and the text; it is renamed into place when all is done.

    Args:
        config: resolved configuration.
        tokens: store of packed sequences.
        checkpoints: folder to write, one sub-folder per checkpoint.
        metrics: CSV of every update: step, loss (nats per token, of its batch), lr, gradient_norm.
        losses: CSV by language: step, part (train: mean since the last evaluation; heldout), language, loss.
    """
    with reproducible(config["train"]["threads"]):
        experiment = load(config, tokens)
        log = _Log(_working_folder(config, tokens, checkpoints))
        last = log.resume()
        trainer = Trainer(config, experiment, open_checkpoint(last) if last else None)
        first, steps = trainer.done, config["train"]["steps"]
        sequences, languages = experiment.heldout(config["influence"]["heldout"])
        wanted = set(checkpoint_steps(config))
        for step in track(range(first, steps + 1), description="pretraining", unit="update"):
            if step in wanted | {0} and (last is None or step > first):
                log.by_language(
                    step,
                    "heldout",
                    trainer.evaluate(sequences),
                    languages,
                    experiment.tokens.heldout_languages,
                )
                log.close_interval(step, experiment.tokens.languages)
                if step in wanted:
                    log.save(trainer)
            if step < steps:
                each, norm = trainer.step()
                log.update(step, each, trainer.batch(step)[1], learning_rate(config, step), norm)
        log.finish(checkpoints, metrics, losses)


def _working_folder(config: Mapping[str, Any], tokens: Path, checkpoints: Path) -> Path:
    """Beside the destination, named by configuration and text, so that no run continues what is not its own."""
    chosen = slice_json(
        slice_config(dict(config), "data", "model", "optimizer", "train", "influence.heldout")
    )
    digest = hashlib.sha256(chosen.encode() + (tokens / "manifest.json").read_bytes()).hexdigest()[:12]
    return checkpoints.with_name(f".{checkpoints.name}.{digest}")


class _Log:
    """What a training run writes as it goes, in its working folder: checkpoints, and before each of them the logs up to it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._rows: dict[str, list[dict[str, Any]]] = {name: [] for name in LOGS}
        self._interval: list[tuple[Tensor, Tensor]] = []

    def resume(self) -> Path | None:
        """The last checkpoint of an interrupted run, whose logs are read; None at the start."""
        folders = sorted(path for path in self._folder.glob("step-*") if path.is_dir())
        if not folders:
            return None
        for name in LOGS:
            self._rows[name] = _read(self._folder / f"{name}-{folders[-1].name}.csv")
        return folders[-1]

    def update(self, step: int, each: Tensor, languages: Tensor, lr: float, norm: float) -> None:
        """One update: losses of its sequences, their languages, the learning rate, and the norm of the gradient."""
        row = {"step": step, "loss": float(each.mean()), "lr": lr, "gradient_norm": norm}
        self._rows["metrics"].append(row)
        self._interval.append((each.cpu(), languages))

    def by_language(
        self, step: int, part: str, each: Tensor, languages: Tensor, names: tuple[str, ...]
    ) -> None:
        """Mean losses of the languages that have sequences here."""
        for index, name in enumerate(names):
            of_language = each[languages == index]
            if len(of_language):
                row = {
                    "step": step,
                    "part": part,
                    "language": name,
                    "loss": float(of_language.double().mean()),
                }
                self._rows["losses"].append(row)

    def close_interval(self, step: int, names: tuple[str, ...]) -> None:
        """Average the training losses since the last call."""
        if self._interval:
            each, languages = (torch.cat(parts) for parts in zip(*self._interval, strict=True))
            self.by_language(step, "train", each, languages, names)
            self._interval.clear()

    def save(self, trainer: Trainer) -> None:
        """Write the logs, then the checkpoint: where there is a checkpoint, its logs are whole."""
        name = checkpoint_name(trainer.done)
        for log in LOGS:
            write_csv(pd.DataFrame(self._rows[log]), self._folder / f"{log}-{name}.csv")
        trainer.save(self._folder / name)

    def finish(self, checkpoints: Path, metrics: Path, losses: Path) -> None:
        """Rename everything to its final path."""
        write_csv(pd.DataFrame(self._rows["metrics"]), metrics)
        write_csv(pd.DataFrame(self._rows["losses"]), losses)
        shutil.rmtree(checkpoints, ignore_errors=True)
        self._folder.replace(checkpoints)
        # Last: a folder of checkpoints without its logs could not be gone on from.
        for path in checkpoints.glob("*.csv"):
            path.unlink()


def _read(path: Path) -> list[dict[str, Any]]:
    """Rows as they were written, "nan" as the name of a language too."""
    return pd.read_csv(path, keep_default_na=False).to_dict("records")
