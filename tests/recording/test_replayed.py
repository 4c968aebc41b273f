"""A small recording answers as a full one does: what it does not hold is made again, to the bit, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
import xarray as xr
from torch import nn
from torch.nn.functional import cross_entropy, scaled_dot_product_attention

import explaind
from explaind.attribution.remaker import Remaker
from explaind.attribution.replayed import ReplayedTrajectory
from explaind.cli.show import describe
from explaind.errors import LedgerError, RecordingError, StoreError
from tests.recording.recorded_runs import INPUTS, TARGETS, Run, mlp
from tests.recording.small_runs import (
    STEPS,
    TRAIN,
    WRONG,
    assert_same_answers,
    assert_same_run,
    both,
    explained,
    recorded,
    replayed,
    rounded,
)
from tests.situations import EXACT, situation


@situation("Recordings", 'small ones: `keep="replay"`, one state in k updates is kept', EXACT)
@pytest.mark.parametrize("every", [3, 4, 100])
def test_answers_are_those_of_a_full_recording(tmp_path: Path, every: int) -> None:
    full, small = both(tmp_path, every)
    assert_same_run(full, small)
    assert_same_answers(full, small)
    assert_same_answers(full, small, keep=("parameter", "test"), steps=slice(2, 9))  # reverse mode, a window
    assert_same_answers(full, small, keep=("train", "test"), tolerance=1e-4)  # in float64
    expected, given = (explaind.verify(path, mlp(), cross_entropy, train=TRAIN) for path in (full, small))
    assert given.attrs["passed"] == expected.attrs["passed"] == 1
    assert (given["replay_error"].values == expected["replay_error"].values).all()


OPTIMIZERS = [
    ("SGD", {}),
    ("SGD", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"momentum": 0.9, "dampening": 0.1, "maximize": True, "lr": 1e-3}),
    ("Adam", {"weight_decay": 0.1, "foreach": True}),
    ("AdamW", {"fused": True}),
    ("AdamW", {"amsgrad": True}),
    ("RMSprop", {"momentum": 0.5}),
    ("Adagrad", {"lr_decay": 0.1}),
    ("Adadelta", {"lr": 1.0}),
    ("Adamax", {}),
    ("NAdam", {}),
    ("RAdam", {}),
    ("ASGD", {}),
    ("Adafactor", {}),
]


@situation("Recordings", "small ones, with an optimizer of torch other than AdamW, Adam or SGD", EXACT)
@pytest.mark.parametrize(("optimizer", "options"), OPTIMIZERS)
def test_every_optimizer_of_torch(tmp_path: Path, optimizer: str, options: dict[str, Any]) -> None:
    full, small = both(tmp_path, 4, optimizer, options)
    assert_same_run(full, small)
    assert_same_answers(full, small)


@situation(
    "Recordings", "small ones, with gradients that are clipped by norm or accumulated, and a schedule", EXACT
)
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW"])
@pytest.mark.parametrize("clip", [0.05, 0.3])
def test_clipped_accumulated_and_scheduled(tmp_path: Path, optimizer: str, clip: float) -> None:
    loop = {"clip": clip, "accumulate": 3, "schedule": lambda step: 1 / (1 + step)}
    full, small = both(tmp_path, 4, optimizer, {"lr": 0.3, "weight_decay": 0.01}, loop=loop)
    scales = [explaind.Trajectory(small).clip_scales(s) for s in range(STEPS)]
    assert any((scale < 1).all() for scale in scales)
    assert_same_run(full, small)
    assert_same_answers(full, small)


@pytest.mark.parametrize("every", [1, 2, 5, 11])
def test_every_other_distance_of_states(tmp_path: Path, every: int) -> None:
    assert_same_run(*both(tmp_path, every))


def test_groups_scheduled_betas_views_weights_and_pauses(tmp_path: Path) -> None:
    def train(path: Path, **how: Any) -> Path:
        model = mlp(torch.float64)
        groups = [
            {"params": model[0].parameters(), "lr": 0.01},
            {"params": model[2].parameters(), "eps": 1e-5},
        ]
        optimizer = torch.optim.AdamW(groups, lr=0.05)
        torch.manual_seed(3)
        with explaind.record(path, model, optimizer, chunk_steps=4, later="2.*", **how) as run:
            for step in range(STEPS):
                model[2].requires_grad_(step % 3 != 0)
                optimizer.param_groups[0]["betas"] = (0.8 + step / 100, 0.99)
                optimizer.zero_grad()
                batch, flips = torch.randint(40, (6,)), torch.randint(2, (6,))
                weights = torch.rand(6, dtype=torch.float64)
                losses = cross_entropy(
                    model(flipped(INPUTS[batch].double(), flips)), TARGETS[batch], reduction="none"
                )
                (losses * weights).sum().backward()
                run.batch(batch, weights, flips)
                optimizer.step()
        return path

    def flipped(inputs: torch.Tensor, views: torch.Tensor) -> torch.Tensor:
        return torch.where(views.bool()[:, None], inputs.flip(-1), inputs)

    full, small = train(tmp_path / "all.zarr"), train(tmp_path / "small.zarr", keep="replay", every=4)
    seen = explaind.Augmented((INPUTS.double(), TARGETS), flipped)
    options = {"train": seen, "test": INPUTS[:3].double(), "keep": ("step", "layer", "test")}
    expected, given = (
        explaind.influence(path, mlp(torch.float64), cross_entropy, **options) for path in (full, small)
    )
    for name in (
        expected.data_vars
    ):  # the loss of each sample by itself is summed in another order than in the loop above
        assert given[name].values == pytest.approx(expected[name].values, rel=1e-9, abs=1e-13), name
    assert given.attrs["remade_difference"] < 1e-12


class Attentive(nn.Module):
    """What rounds in ways of its own: fused attention, a convolution, a recurrent layer, tied weights, a frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(9, 8)
        self.mix = nn.Conv1d(8, 24, 3, padding=1)
        self.recur = nn.GRU(8, 8, batch_first=True)
        self.frozen = nn.Linear(8, 8).requires_grad_(False)
        self.read = nn.Linear(8, 9)
        self.read.weight = self.embed.weight

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        h = self.embed(tokens)
        q, k, v = (part.mT for part in self.mix(h.mT).chunk(3, 1))
        return self.read(self.frozen(self.recur(h + scaled_dot_product_attention(q, k, v))[0][:, -1]))


@pytest.mark.parametrize("threads", [1, 2])
def test_kernels_that_round_in_their_own_way(tmp_path: Path, threads: int) -> None:
    """The model is run as it was trained, and not as it is differentiated for an explanation."""
    tokens = torch.randint(9, (60, 7), generator=torch.Generator().manual_seed(0))

    def train(path: Path, **how: Any) -> Path:
        model = Attentive()
        named = [p for p in model.parameters() if p.requires_grad]
        groups = [{"params": [p for p in named if p.dim() == 1], "weight_decay": 0.0}]
        groups += [{"params": [p for p in named if p.dim() > 1]}, {"params": [model.frozen.weight]}]
        optimizer = torch.optim.AdamW(groups, lr=0.01, weight_decay=0.1)
        torch.manual_seed(1)
        with explaind.record(path, model, optimizer, **how) as run:
            for _ in range(STEPS):
                optimizer.zero_grad()
                batch = torch.randint(60, (33,))
                cross_entropy(model(tokens[batch]), tokens[batch, 0]).backward()
                run.batch(batch)
                for part in (model.embed, model.mix, model.recur):  # each by itself
                    nn.utils.clip_grad_norm_(part.parameters(), 0.1)
                optimizer.step()
        return path

    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        full, small = train(tmp_path / "all.zarr"), train(tmp_path / "small.zarr", keep="replay", every=4)
    finally:
        torch.set_num_threads(before)
    given = ReplayedTrajectory(small, Attentive(), cross_entropy, (tokens, tokens[:, 0]))
    expected = explaind.Trajectory(full)
    assert all(torch.equal(given.parameters(s), expected.parameters(s)) for s in range(STEPS + 1))
    assert len({float(scale) for scale in given.clip_scales(3)}) > 2
    assert torch.get_num_threads() == before


def test_gradients_divided_by_a_number(tmp_path: Path) -> None:
    """A quotient is a product up to rounding, and made again up to that."""
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    with explaind.record(tmp_path / "run.zarr", model, optimizer, keep="replay", every=4) as run:
        for _ in range(STEPS):
            optimizer.zero_grad()
            cross_entropy(model(INPUTS), TARGETS).backward()
            run.batch(range(len(INPUTS)))
            for parameter in model.parameters():
                parameter.grad /= 3.7
            optimizer.step()
    assert explained(tmp_path / "run.zarr").attrs["remade_difference"] < 1e-5


def test_a_history_before_the_recording(tmp_path: Path) -> None:
    def train(path: Path, **how: Any) -> Path:
        model = mlp()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
        torch.manual_seed(7)
        Run(model, optimizer).train(5)
        with explaind.record(path, model, optimizer, chunk_steps=4, **how) as run:
            Run(model, optimizer).train(STEPS, run)
        return path

    full, small = train(tmp_path / "all.zarr"), train(tmp_path / "small.zarr", keep="replay", every=4)
    assert_same_run(full, small)
    assert_same_answers(full, small)


@situation("Recordings", "small ones that were interrupted and resumed", EXACT)
@pytest.mark.parametrize(("first", "every"), [(3, 3), (6, 3), (8, 3), (9, 16), (8, 4), (10, 5)])
@pytest.mark.parametrize("optimizer", ["SGD", "AdamW", "NAdam"])
def test_resumed(tmp_path: Path, optimizer: str, first: int, every: int) -> None:
    options = {"momentum": 0.9} if optimizer == "SGD" else {}
    full = recorded(tmp_path / "all.zarr", optimizer, options)
    small, how = tmp_path / "small.zarr", {"keep": "replay", "every": every}
    recorded(small, optimizer, options, steps=first, **how)
    recorded(small, optimizer, options, resume=True, **how)
    assert_same_run(full, small)
    with pytest.raises(StoreError, match=r"other options.*every=.*keep=\"all\""):
        recorded(small, optimizer, options, resume=True)
    with pytest.raises(StoreError, match=r"other options"):
        recorded(small, optimizer, options, resume=True, keep="replay", every=every + 1)
    assert_same_run(full, small)


def test_a_run_that_failed_is_explained_up_to_its_last_update(tmp_path: Path) -> None:
    full, small = recorded(tmp_path / "all.zarr", steps=6), tmp_path / "small.zarr"
    model = mlp()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05)
    torch.manual_seed(7)
    with (
        pytest.raises(KeyboardInterrupt),
        explaind.record(small, model, optimizer, chunk_steps=4, keep="replay", every=3) as run,
    ):
        Run(model, optimizer).train(6, run)
        raise KeyboardInterrupt
    given, expected = replayed(small), explaind.Trajectory(full)
    assert not given.complete
    assert all(torch.equal(given.parameters(s), expected.parameters(s)) for s in range(7))
    journal = (
        small / "journal.jsonl"
    )  # killed: the last commit is the last whole chunk, in the middle of a segment
    journal.write_bytes(journal.read_bytes().split(b"\n")[0] + b"\n")
    killed = replayed(small)
    assert killed.n_steps == 4
    assert killed.kept.steps == (0, 3)
    assert all(torch.equal(killed.parameters(s), expected.parameters(s)) for s in range(5))
    with pytest.raises(LedgerError, match="ended before it kept a state"):
        replayed(small, rounded).parameters(4)


def test_each_segment_is_made_once_in_a_pass(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = recorded(tmp_path / "small.zarr", keep="replay", every=3)
    made: list[int] = []
    make = Remaker.make
    monkeypatch.setattr(
        Remaker, "make", lambda self, start, stop: made.append(start) or make(self, start, stop)
    )
    run = replayed(small)
    for s in range(STEPS):
        run.parameters(s), run.second_moment(s), run.parameters(s + 1)
    assert made == [0, 3, 6, 9]
    for s in reversed(range(STEPS)):
        run.parameters(s + 1), run.second_moment(s), run.parameters(s)
    assert made == [0, 3, 6, 9, 3, 0]
    assert len(run._segments) == 2


def test_rehearsed_planned_and_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    small = recorded(tmp_path / "small.zarr", keep="replay", every=4, loss_fn=cross_entropy, train=TRAIN)
    assert explaind.rehearse(small, mlp(), cross_entropy, train=TRAIN).passed
    describe(explaind.Trajectory(recorded(tmp_path / "new.zarr", keep="replay", every=4)))
    assert "nothing yet" in capsys.readouterr().out
    explaind.plan(small, mlp(), cross_entropy, train=TRAIN, test=INPUTS[:3])
    explaind.verify(small, mlp(), cross_entropy, train=TRAIN)
    describe(explaind.Trajectory(small))
    shown = " ".join(capsys.readouterr().out.split())
    assert "4 states, one in 4 updates" in shown
    assert "11 of 11 updates, 11 to the bit" in shown
    with pytest.raises(RecordingError, match="first updates cannot be explained"):
        recorded(tmp_path / "wrong.zarr", keep="replay", every=4, loss_fn=WRONG["twice"][0], train=TRAIN)


def test_a_recording_without_updates(tmp_path: Path) -> None:
    model = mlp()
    with explaind.record(tmp_path / "run.zarr", model, torch.optim.SGD(model.parameters()), keep="replay"):
        pass
    assert replayed(tmp_path / "run.zarr").parameters(0).shape == (66,)


@situation("Recordings", 'keep="replay" of a model with dropout, under autocast', EXACT)
def test_random_passes_are_made_again(tmp_path: Path) -> None:
    class Noisy(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layer, self.out = nn.GRU(3, 4, num_layers=2, dropout=0.4, batch_first=True), nn.Linear(4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.out(nn.functional.dropout(self.layer(x)[0][:, -1], 0.3, self.training))

    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(12, 3, 3, generator=generator), torch.randint(3, (12,), generator=generator)

    def answered(keep: str) -> xr.Dataset:
        torch.manual_seed(0)
        model = Noisy()
        optimizer = torch.optim.AdamW(model.parameters(), lr=0.01)
        path = tmp_path / f"{keep}.zarr"
        with explaind.record(path, model, optimizer, keep=keep, every=4, chunk_steps=2) as run:
            for step in range(10):
                optimizer.zero_grad()
                for part in (torch.arange(6), torch.arange(step, step + 3)):
                    with torch.autocast("cpu", torch.bfloat16, enabled=step % 2 == 1):
                        nn.functional.cross_entropy(model(x[part]), y[part]).backward()
                    run.batch(part)
                optimizer.step()
        return explaind.influence(
            path,
            model,
            nn.functional.cross_entropy,
            train=(x, y),
            test=x[:2],
            keep=("train", "test"),
            tolerance=1e-2,
        )

    small, whole = answered("replay"), answered("all")
    assert small.attrs["remade_same_bits"] == small.attrs["remade"] > 0
    assert (small.kernel.values == whole.kernel.values).all()
