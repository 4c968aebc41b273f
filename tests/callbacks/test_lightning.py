"""Runs of the Trainer of Lightning: its samples, weights and clipping are recorded by one line."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.data import DataLoader

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of the library, about its own dependencies
    import lightning

from explaind.callbacks.lightning import RecordCallback
from explaind.errors import RecordingError
from tests.callbacks.named import Named, Noting, check_exact, check_penalized, size_of
from tests.situations import EXACT, refused, situation

pytestmark = pytest.mark.filterwarnings("ignore")  # of the library, about workers, loggers and devices


class Module(lightning.LightningModule):
    """Trains the tiny net; `manual` and `optimizers` for what is refused."""

    def __init__(self, *, manual: bool = False, several: bool = False) -> None:
        super().__init__()
        self.net, self.several = Noting(), several
        self.automatic_optimization = not manual

    def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
        self.net.note(batch["index"])
        return F.cross_entropy(self.net(batch["x"]), batch["labels"])

    def validation_step(self, batch: dict[str, Tensor], _: int) -> None:
        self.net(batch["x"])

    def configure_optimizers(self) -> Any:
        made = [
            torch.optim.AdamW(self.net.parameters(), lr=0.02, weight_decay=0.3)
            for _ in range(1 + self.several)
        ]
        return made if self.several else made[0]


def fit(path: Path, module: Module, callback: RecordCallback, loader: Any = None, **options: Any) -> None:
    """Micro-batches of 2, 2 | 2, 1 samples in random order, for two epochs, with validation in between."""
    torch.manual_seed(0)
    loader = loader or DataLoader(Named(), batch_size=2, shuffle=True)
    trainer = lightning.Trainer(
        max_epochs=2, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, default_root_dir=path, num_sanity_val_steps=1,
        callbacks=[callback], **{"accumulate_grad_batches": 2, "gradient_clip_val": 0.3, **options},
    )  # fmt: skip
    trainer.fit(module, loader, DataLoader(Named(), batch_size=3))


@situation("Trainers", "Lightning's Trainer, accumulation and clipping", EXACT)
def test_accumulation_and_clipping(tmp_path: Path) -> None:
    module, path = Module(), tmp_path / "run.zarr"
    fit(tmp_path, module, RecordCallback(path, model=module.net))
    assert len(set(map(tuple, module.net.seen))) > 4, "another order in the second epoch"
    check_exact(path, module.net.seen, [(2, 1 / 2)] * 4, F.cross_entropy)


@situation("Trainers", "Lightning's Trainer, a last update of fewer micro-batches", EXACT)
def test_a_shorter_last_window(tmp_path: Path) -> None:
    """Micro-batches of 2, 2, 2 | 1 samples: Lightning divides the last one by three as well."""
    module, path = Module(), tmp_path / "run.zarr"
    fit(tmp_path, module, RecordCallback(path, model=module.net), accumulate_grad_batches=3)
    check_exact(path, module.net.seen, [(3, 1 / 3), (1, 1 / 3)] * 2, F.cross_entropy)


@situation("Trainers", "Lightning's Trainer, a penalty in the loss", EXACT)
def test_a_penalty_has_the_weight_that_the_trainer_gives_it(tmp_path: Path) -> None:
    """Micro-batches of 2, 2, 2 | 1 samples: Lightning divides each loss by three, with the penalty in it."""

    class Penalized(Module):
        def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
            return super().training_step(batch, number) + size_of(self.net)

    module, path = Penalized(), tmp_path / "run.zarr"
    callback = RecordCallback(path, model=module.net, penalty=size_of)
    fit(tmp_path, module, callback, accumulate_grad_batches=3)
    check_penalized(path, [1.0, 1 / 3] * 2, F.cross_entropy)


def test_a_failure_closes_the_recording(tmp_path: Path) -> None:
    class Failing(Module):
        def training_step(self, batch: dict[str, Tensor], number: int) -> Tensor:
            if len(self.net.seen) == 6:
                raise ZeroDivisionError
            return super().training_step(batch, number)

    path = tmp_path / "run.zarr"
    module = Failing()
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, module, RecordCallback(path, model=module.net, chunk_steps=1))
    fit(tmp_path, again := Module(), RecordCallback(path, model=again.net, overwrite=True))


@situation(
    "Trainers", "Lightning's manual optimization", refused("a callback does not see what was differentiated")
)
def test_manual_optimization_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordingError, match="Manual optimization"):
        plain = {"accumulate_grad_batches": 1, "gradient_clip_val": None}
        fit(tmp_path, Module(manual=True), RecordCallback(tmp_path / "run.zarr"), **plain)


@situation("Trainers", "Lightning with several optimizers", refused("one optimizer makes each update"))
def test_several_optimizers_are_refused(tmp_path: Path) -> None:
    class Both(Module):
        def training_step(self, batch: dict[str, Tensor], _: int) -> Tensor:
            return F.cross_entropy(self.net(batch["x"]), batch["labels"])

    with pytest.raises((RecordingError, RuntimeError), match="[Ss]everal optimizers|multiple optimizers"):
        fit(tmp_path, Both(several=True), RecordCallback(tmp_path / "run.zarr"))


@situation(
    "Trainers", "Lightning with several training loaders", refused("batches of one loader have indices")
)
def test_several_loaders_are_refused(tmp_path: Path) -> None:
    loaders = [DataLoader(Named(), batch_size=2), DataLoader(Named(), batch_size=2)]
    with pytest.raises(RecordingError, match="DataLoader"):
        fit(tmp_path, Module(), RecordCallback(tmp_path / "run.zarr"), loaders)
