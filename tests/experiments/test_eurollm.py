"""Batches, learning rate and training of a language model."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pandas as pd
import pytest
import torch

from explaind.checkpoints import open_checkpoint
from explaind.config.checkpoints import checkpoint_names, checkpoint_steps
from explaind.errors import ConfigError, DataError, TrainingError
from explaind.experiments.eurollm.model import describe, llama_config, make_llama, sequence_losses
from explaind.experiments.language.batches import Batches, composition, spread
from explaind.experiments.language.pretraining import load
from explaind.stages import pretrain
from explaind.training.pretraining import Trainer
from explaind.training.schedule import learning_rate
from tests.updates.small_run import configuration, write_tokens


def test_composition_follows_the_text_and_leaves_nobody_out() -> None:
    assert composition([100, 100, 100], 6, 0.5) == (2, 2, 2)
    assert composition([1, 1, 10_000], 12, 1.0) == (1, 1, 10)
    assert composition([1, 4, 9], 9, 0.5) == (2, 3, 4)  # six beyond one each, in the ratio 1 : 2 : 3
    assert composition([7, 7], 5, 0.0) == (3, 2)
    with pytest.raises(ConfigError, match="train.batch of at least 3"):
        composition([1, 1, 1], 2, 0.5)


def test_batches_repeat_no_sequence_before_all_were_seen() -> None:
    language = torch.tensor([0] * 5 + [1] * 7)
    batches = Batches(language, (2, 1), seed=3)
    seen = Counter(int(i) for step in range(5) for i in batches(step))
    assert [seen[i] for i in range(5)] == [2] * 5 and max(seen[i] for i in range(5, 12)) == 1
    assert all(language[batches(step)].tolist() == [0, 0, 1] for step in range(9))
    assert torch.equal(batches(4), Batches(language, (2, 1), seed=3)(4))
    others = (Batches(language, (2, 1), seed=4), Batches(language, (2, 1), 3, "simulated"))
    assert all(any(not torch.equal(batches(step), other(step)) for step in range(4)) for other in others)


def test_spread_is_even_and_sorted() -> None:
    language = torch.tensor([1, 1, 1, 1, 0, 0, 2])
    assert spread(language, 2).tolist() == [4, 5, 0, 2, 6]


def test_learning_rate_warms_up_and_decays() -> None:
    config = configuration(
        "train.steps=20", "train.warmup=4", "train.decay=10", "train.final=0.1", "optimizer.lr=1.0"
    )
    rates = [learning_rate(config, step) for step in range(22)]
    assert rates[:4] == [0.25, 0.5, 0.75, 1.0] and rates[4:11] == [1.0] * 7
    assert rates[15] == pytest.approx(0.55) and rates[20] == rates[21] == pytest.approx(0.1)


def test_checkpoints_are_spread_and_end_with_the_run() -> None:
    config = configuration("train.steps=10", "train.checkpoints=4")
    assert checkpoint_steps(config) == [2, 5, 7, 10]
    assert checkpoint_names(config)[-1] == "step-000010"


def test_checkpoints_of_a_folder_are_ordered_by_their_numbers(tmp_path: Path) -> None:
    for name in ("checkpoint-500", "checkpoint-1500", "checkpoint-1000", "logs"):
        (tmp_path / name).mkdir()
        if name != "logs":
            (tmp_path / name / "config.json").write_text("{}")
    config = {"checkpoints": {"source": "folder", "folder": str(tmp_path)}}
    assert checkpoint_names(config) == ["checkpoint-500", "checkpoint-1000", "checkpoint-1500"]
    config["checkpoints"]["folder"] = str(tmp_path / "logs")
    with pytest.raises(ConfigError, match="no checkpoints to explain"):
        checkpoint_names(config)


def test_losses_are_transformers_own_and_float64_is_float64() -> None:
    shape = configuration()["model"]
    torch.manual_seed(0)
    model = make_llama(llama_config(shape, 16))
    tokens = torch.randint(0, 300, (3, 16))
    own = model(input_ids=tokens, labels=tokens).loss
    torch.testing.assert_close(sequence_losses(model, tokens).mean(), own)
    double = sequence_losses(model.double(), tokens)
    assert double.dtype == torch.float64
    # A change far below float32's resolution of the norm's input reaches the loss.
    with torch.no_grad():
        model.model.embed_tokens.weight.mul_(1 + 1e-12)
    assert 0 < float((sequence_losses(model, tokens) - double).detach().abs().max()) < 1e-9


def test_a_config_that_transformers_wrote_makes_the_model(tmp_path: Path) -> None:
    made = llama_config(configuration()["model"], 16)
    make_llama(made).save_pretrained(tmp_path)
    written = json.loads((tmp_path / "config.json").read_text())
    assert written["use_cache"] is False and "transformers_version" in written
    again = make_llama(written)
    assert {n: p.shape for n, p in again.named_parameters()} == {
        n: p.shape for n, p in make_llama(made).named_parameters()
    }
    del written["num_key_value_heads"]
    assert describe(written, "model.layers.0.self_attn.k_proj.weight", (16, 16)).blocks == 4


def test_training_continues_as_if_never_interrupted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config, tokens = configuration(), write_tokens(tmp_path / "tokens.zarr")

    def run(name: str) -> Path:
        folder = tmp_path / name
        pretrain.write(
            config,
            tokens=tokens,
            checkpoints=folder / "checkpoints",
            metrics=folder / "m.csv",
            losses=folder / "l.csv",
        )
        return folder

    whole = run("whole")
    save = Trainer.save

    def interrupted(trainer: Trainer, folder: Path) -> None:
        if trainer.done == 6:
            raise KeyboardInterrupt
        save(trainer, folder)

    monkeypatch.setattr(Trainer, "save", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run("again")
    assert not (tmp_path / "again" / "checkpoints").exists()
    monkeypatch.setattr(Trainer, "save", save)
    steps: list[int] = []
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda trainer: (steps.append(trainer.done), step(trainer))[1])
    again = run("again")
    assert steps == [4, 5, 6, 7], "it went on from the checkpoint after four updates"
    for name in ("m.csv", "l.csv"):
        assert (whole / name).read_bytes() == (again / name).read_bytes()
    for name in checkpoint_names(config):
        one, two = (open_checkpoint(folder / "checkpoints" / name) for folder in (whole, again))
        assert one.hyperparameters == two.hyperparameters and one.hyperparameters.step == int(name[-6:])
        for parameter in one.names():
            for read in ("weight", "exp_avg", "exp_avg_sq"):
                assert torch.equal(getattr(one, read)(parameter), getattr(two, read)(parameter))
    assert sorted(path.name for path in again.iterdir()) == ["checkpoints", "l.csv", "m.csv"]
    losses = pd.read_csv(whole / "l.csv", keep_default_na=False)
    assert set(losses[losses.part == "heldout"].language) == {"eng", "ell", "est"}
    assert sorted(set(losses.step)) == [0, 2, 4, 6, 8]
    assert list(pd.read_csv(whole / "m.csv").step) == list(range(8))


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    tokens = write_tokens(tmp_path / "tokens.zarr")
    with pytest.raises(DataError, match="larger vocabulary than the model's"):
        load(configuration("model.vocabulary=280", "data.tokenizer.vocabulary=270"), tokens)
    with pytest.raises(DataError, match="longer than the model's context"):
        load(configuration("data.context=15"), tokens)
    experiment = load(configuration(), tokens)
    trainer = Trainer(configuration(), experiment)
    with torch.no_grad():
        trainer.model.lm_head.weight[0, 0] = float("nan")
    with pytest.raises(TrainingError, match="gradient of update 0 is not finite"):
        trainer.step()
