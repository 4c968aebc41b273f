"""Runs on augmented samples: the recorded views are replayed, and credit goes to the sample behind them.

Images [N, 1, 2, 3] are mirrored where their view says so, and flattened by the model.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

import explaind
from explaind.errors import DataError, LedgerError
from explaind.experiments.images import mirrored
from explaind.features.samples import Augmented
from explaind.recording.trajectory import Trajectory
from explaind.reference.recordings import ReferenceTensors, decompose, model_value

COUNT = 6
#: (indices, views) of each micro-batch of each update: ragged, some without views, sample 0 both ways in one.
BATCHES = [
    [([0, 1, 2, 3], [1, 0, 1, 1])],
    [([4, 5], [0, 1])],
    [([0, 0, 3], [0, 1, 1]), ([1, 2], None)],
    [([5, 4, 3], None)],
    [([0, 1, 2, 3, 4, 5], [0, 1, 0, 0, 1, 1])],
]

Batch = tuple[list[int], list[int] | None]
Make = Callable[[nn.Module], torch.optim.Optimizer]


class Net(nn.Module):
    """Images [N, 1, 2, 3] to outputs [N, 3]."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 4)
        self.second = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(torch.tanh(self.first(x.flatten(1))))


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.004, weight_decay=0.3)


def sgd(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9, weight_decay=0.05)


class Run:
    """A recorded run on images and their mirror images, and everything to explain it again."""

    def __init__(
        self,
        path: Path,
        make: Make = sgd,
        batches: list[list[Batch]] = BATCHES,
        samples: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        generator = torch.Generator().manual_seed(0)
        pixels = torch.randn(COUNT + 3, 1, 2, 3, generator=generator, dtype=torch.float64)
        labels = torch.randint(3, (COUNT + 3,), generator=generator)
        self.samples = samples or (pixels[:COUNT], labels[:COUNT])
        self.test = pixels[COUNT:], labels[COUNT:]
        torch.manual_seed(0)
        self.path, self.model = path, Net().double()
        optimizer = make(self.model)
        with explaind.record(path, self.model, optimizer, chunk_steps=2) as recorder:
            for update in batches:
                optimizer.zero_grad()
                for indices, views in update:
                    self._mean_loss(indices, views, len(update)).backward()
                    recorder.batch(indices, None if len(update) == 1 else 1 / len(update), views)
                optimizer.step()

    def _mean_loss(self, indices: list[int], views: list[int] | None, parts: int) -> Tensor:
        x, y = self.samples[0][indices], self.samples[1][indices]
        if views is not None:  # one by one, and with other means than the code under test
            x = torch.stack(
                [one[..., [2, 1, 0]] if view else one for one, view in zip(x, views, strict=True)]
            )
        return F.cross_entropy(self.model(x), y) / parts

    def explained(
        self, train: object = None, keep: tuple[str, ...] = ("train", "test", "output"), **options: object
    ):
        return explaind.influence(
            self.path, self.model, F.cross_entropy, train=train or Augmented(self.samples, mirrored),
            test=self.test[0], keep=keep,
            **{"tolerance": 1e-10, "max_nodes": 243, "tail_tolerance": 0, **options},
        )  # fmt: skip

    def sample_gradients(self, theta: dict[str, Tensor], s: int) -> dict[int, Tensor]:
        """g_{s,k}: the gradient of each sample's own part of the mean loss, at what was seen of it."""
        found: dict[int, Tensor] = {}
        update = Trajectory(self.path).step(s).batches
        for batch in update:
            for position, k in enumerate(batch.indices.tolist()):
                leaves = {name: value.clone().requires_grad_() for name, value in theta.items()}
                x = self.samples[0][k]
                if batch.views is not None and batch.views[position]:
                    x = x[..., [2, 1, 0]]
                outputs = torch.func.functional_call(self.model, leaves, (x[None],))
                loss = F.cross_entropy(outputs, self.samples[1][k][None]) / len(batch.indices) / len(update)
                parts = torch.autograd.grad(loss, list(leaves.values()))
                found[k] = found.get(k, 0) + torch.cat([part.flatten() for part in parts])
        return found

    def reference(self) -> ReferenceTensors:
        value = model_value(self.model, self.test[0])
        trajectory = Trajectory(self.path)
        return decompose(trajectory, self.model, self.sample_gradients, value, train=COUNT, nodes=12)


@pytest.mark.parametrize("make", [sgd, adamw])
def test_influences_of_seen_samples_equal_the_definition(tmp_path: Path, make: Make) -> None:
    run = Run(tmp_path / "run.zarr", make)
    reference = run.reference()
    assert reference.replay < 1e-12, "the reference itself must rebuild the run"
    scores = run.explained()
    torch.testing.assert_close(
        torch.tensor(scores.kernel.values), reference.influence.sum((0, 1)), atol=1e-8, rtol=0
    )
    torch.testing.assert_close(
        torch.tensor(scores.regularization.values), reference.regularization.sum((0, 1)), atol=1e-8, rtol=0
    )
    total = scores.initial + scores.kernel.sum("train") + scores.regularization
    assert float(abs(scores.residual).max()) <= 1e-8
    assert float(abs(scores.replay).max()) <= 1e-12
    assert float(abs(total + scores.residual - scores.final).max()) <= 1e-12
    with torch.no_grad():
        torch.testing.assert_close(torch.tensor(scores.final.values), run.model(run.test[0]))


def test_the_sums_over_samples_agree_with_each_sample(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.zarr")
    each = run.explained(nodes=5)
    by_step = run.explained(keep=("step", "train", "test", "output"), nodes=5)
    summed = run.explained(keep=("step", "layer", "test", "output"), nodes=5)
    assert float(abs(by_step.kernel.sum("step") - each.kernel).max()) <= 1e-8
    assert float(abs(summed.kernel.sum(("step", "layer")) - each.kernel.sum("train")).max()) <= 1e-8


def test_both_views_of_a_sample_are_credited_to_its_own_row(tmp_path: Path) -> None:
    """The same run, told as one on twice as many samples of which none was augmented."""

    def apart(indices: list[int], views: list[int] | None) -> Batch:
        return [k + COUNT * view for k, view in zip(indices, views or [0] * len(indices), strict=True)], None

    run = Run(tmp_path / "run.zarr")
    images, labels = run.samples
    samples = torch.cat([images, images[..., [2, 1, 0]]]), torch.cat([labels, labels])
    doubled = Run(
        tmp_path / "twice.zarr",
        batches=[[apart(*micro) for micro in update] for update in BATCHES],
        samples=samples,
    )
    each = doubled.explained(samples, nodes=5).kernel.values
    together = run.explained(nodes=5).kernel.values
    assert abs(each[:COUNT]).max() > 1e-3 and abs(each[COUNT:]).max() > 1e-3
    torch.testing.assert_close(
        torch.tensor(together), torch.tensor(each[:COUNT] + each[COUNT:]), atol=1e-8, rtol=0
    )


def test_the_certificate_replays_the_views(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.zarr")
    train = Augmented(run.samples, mirrored)
    found = explaind.verify(
        run.path, run.model, F.cross_entropy, train=train, test=run.test[0], tolerance=1e-6
    )
    assert found.attrs["passed"] == 1
    assert float(found.replay_error.max()) <= 1e-12
    assert explaind.verify(run.path, run.model, F.cross_entropy, train=train).attrs["passed"] == 1


def test_the_certificate_of_other_views_is_not_passed(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.zarr")
    train = Augmented(run.samples, lambda x, views: x)
    found = explaind.verify(run.path, run.model, F.cross_entropy, train=train)
    assert found.attrs["passed"] == 0
    seen = [any(views and any(views) for _, views in update) for update in BATCHES]
    wrong = (found.replay_relative > 1e-3).values.tolist()
    assert wrong[0] and all(differs for differs, mirror in zip(wrong, seen, strict=True) if mirror)


def test_views_can_be_made_from_other_numbers_than_flags(tmp_path: Path) -> None:
    """A view may be an offset: here rows are rolled by it."""
    run = Run(tmp_path / "run.zarr", batches=[[(list(range(COUNT)), None)]])
    model, optimizer = run.model, sgd(run.model)
    offsets = torch.tensor([0, 1, 2, -1, 5, 3])

    def rolled(x: Tensor, views: Tensor) -> Tensor:
        return torch.stack([one.roll(int(view), -1) for one, view in zip(x, views, strict=True)])

    run.path = tmp_path / "rolled.zarr"
    with explaind.record(run.path, model, optimizer) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            F.cross_entropy(model(rolled(run.samples[0], offsets)), run.samples[1]).backward()
            recorder.batch(range(COUNT), views=offsets)
            optimizer.step()
    scores = run.explained(Augmented(run.samples, rolled), nodes=3)
    assert float(abs(scores.replay).max()) <= 1e-12
    with pytest.raises(LedgerError):
        run.explained()


def test_augmented_samples_of_a_run_that_saw_no_views_are_the_samples(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.zarr", batches=[[([0, 1, 2], None)], [([3, 4, 5], None)]])
    plain = run.explained(run.samples, nodes=3)
    augmented = run.explained(Augmented(torch.utils.data.TensorDataset(*run.samples), mirrored), nodes=3)
    assert (plain.kernel.values == augmented.kernel.values).all()


# Refusals.


def test_samples_without_their_views_are_refused(tmp_path: Path) -> None:
    run = Run(tmp_path / "run.zarr")
    for refused in (
        lambda: run.explained(run.samples),
        lambda: explaind.verify(run.path, run.model, F.cross_entropy, train=run.samples),
    ):
        with pytest.raises(DataError, match=r"saw views of its train samples.*explaind\.Augmented"):
            refused()


def noisy(x: Tensor, views: Tensor) -> Tensor:
    return x + 1e-3 * torch.randn_like(x)


def sometimes(x: Tensor, views: Tensor) -> Tensor:
    flips = torch.rand(len(x), 8) < 0.5
    return mirrored(x, flips.sum(1) % 2) + 0 * views[:, None, None, None]


@pytest.mark.parametrize("view", [noisy, sometimes])
def test_random_views_are_refused(tmp_path: Path, view: Callable[[Tensor, Tensor], Tensor]) -> None:
    run = Run(tmp_path / "run.zarr")
    torch.manual_seed(0)
    with pytest.raises(DataError, match="cannot be replayed: made twice, they differ"):
        run.explained(Augmented(run.samples, view))


@pytest.mark.parametrize(
    ("view", "got"),
    [
        (lambda x, views: x.flatten(1), r"\(4, 6\), torch.float64"),
        (lambda x, views: x[:1], r"\(1, 1, 2, 3\), torch.float64"),
        (lambda x, views: x[..., :2], r"\(4, 1, 2, 2\), torch.float64"),
        (lambda x, views: mirrored(x, views).float(), r"\(4, 1, 2, 3\), torch.float32"),
        (lambda x, views: None, "NoneType"),
        (lambda x, views: mirrored(x, views).numpy(), "ndarray"),
    ],
)
def test_views_of_another_form_are_refused(tmp_path: Path, view: Callable, got: str) -> None:
    run = Run(tmp_path / "run.zarr")
    with pytest.raises(DataError, match=rf"does not give inputs.*\(4, 1, 2, 3\), torch.float64.*{got}"):
        run.explained(Augmented(run.samples, view))


@pytest.mark.parametrize(
    "view",
    [
        lambda x, views: x,  # never mirrors
        lambda x, views: x.flip(-1),  # always
        lambda x, views: mirrored(x, 1 - views),
        lambda x, views: torch.where(views.bool()[:, None, None, None], x.flip(-2), x),  # upside down
    ],
)
def test_other_views_than_the_run_saw_are_refused(tmp_path: Path, view: Callable) -> None:
    run = Run(tmp_path / "run.zarr")
    with pytest.raises(LedgerError, match="cannot be rebuilt"):
        run.explained(Augmented(run.samples, view))
