"""Models that torch's transforms do not take as they are: explained as by definition, or refused in words."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

import explaind
from explaind.errors import DataError, ExplaindError, QueryError, RecordingError
from tests.attribution.tiny import Net, Run, record_run
from tests.features.brute import MODES, SUMMED, check_by_definition, explained, momentum


class Scaled(nn.Module):
    """Parameters without axes."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(3, 3)
        self.scale, self.shift = nn.Parameter(torch.tensor(1.5)), nn.Parameter(torch.tensor(0.3))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * torch.tanh(self.first(x)) + self.shift


class Keeps(Net):
    """Remembers an activation, in an attribute, in a list, and behind an object, graph and all."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = torch.tanh(self.first(x))
        self.history = [*getattr(self, "history", [])[-1:], self.last]
        self.notes = {"hidden": (self.last,)}
        return self.second(self.last)


class Checkpointed(Net):
    """The second layer's inputs are recomputed in the backward pass."""

    reentrant = False
    third: nn.Module | None = None

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x)
        return checkpoint(lambda h: self.second(torch.tanh(h)), h, use_reentrant=self.reentrant)


class Reentrant(Checkpointed):
    reentrant = True


class Routed(nn.Module):
    """Each sample goes to one of two experts, gathered by index or by mask: shapes depend on values."""

    def __init__(self, masks: bool) -> None:
        super().__init__()
        self.masks, self.one, self.two = masks, nn.Linear(3, 3), nn.Linear(3, 3)

    def forward(self, x: Tensor) -> Tensor:
        chosen, out = x[:, 0] > 0, torch.zeros_like(x)
        if self.masks:
            out[chosen], out[~chosen] = torch.tanh(self.one(x[chosen])), self.two(x[~chosen])
            return out
        here, there = chosen.nonzero().squeeze(1), (~chosen).nonzero().squeeze(1)
        return out.index_add(0, here, torch.tanh(self.one(x[here]))).index_add(0, there, self.two(x[there]))


def old_weight_norm() -> nn.Module:
    with pytest.warns(FutureWarning, match="deprecated"):
        return nn.Sequential(nn.utils.weight_norm(nn.Linear(3, 2)), nn.Tanh(), nn.Linear(2, 3))


def spectral_norm(apply: Any) -> nn.Module:
    """In evaluation mode: the singular vectors are constants, as the recorder asks."""
    model = nn.Sequential(apply(nn.Linear(3, 2)), nn.Tanh(), nn.Linear(2, 3))
    model(torch.randn(2, 3))
    return model.eval()


PARAMETRIZE = nn.utils.parametrizations
ANSWERED = {
    "parameters without axes": Scaled,
    "kept activation": Keeps,
    "old weight norm": old_weight_norm,
    "new weight norm": lambda: nn.Sequential(PARAMETRIZE.weight_norm(nn.Linear(3, 2)), nn.Linear(2, 3)),
    "orthogonal": lambda: nn.Sequential(PARAMETRIZE.orthogonal(nn.Linear(3, 2)), nn.Linear(2, 3)),
    "new spectral norm": lambda: spectral_norm(PARAMETRIZE.spectral_norm),
    "old spectral norm": lambda: spectral_norm(nn.utils.spectral_norm),
}


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*is deprecated:FutureWarning")
@pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")
@pytest.mark.parametrize("name", ANSWERED)
def test_explained_in_every_mode(name: str, tmp_path: Path) -> None:
    torch.manual_seed(1)
    steps = 1 if name == "orthogonal" else 2  # its matrix exponential is not vectorised
    run = record_run(tmp_path / "run.zarr", momentum, model=ANSWERED[name](), steps=steps)
    check_by_definition(run)


@pytest.mark.parametrize("kind", [Checkpointed, Reentrant])
def test_gradient_checkpointing_is_the_model_without_it(kind: type[Net], tmp_path: Path) -> None:
    """The definition, too, must not recompute: after functional_call the parameters would be others."""
    run = record_run(tmp_path / "run.zarr", momentum, model=kind(hidden=2), steps=2)
    check_by_definition(run, twin=Net(hidden=2).double())
    function = torch.utils.checkpoint.CheckpointFunction
    assert function.__name__ == "CheckpointFunction"  # put back after every call


@pytest.mark.parametrize("masks", [True, False])
def test_routing_by_values_is_answered_in_sums_and_refused_by_sample(masks: bool, tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=Routed(masks), steps=2)
    whole = run.reference(nodes=8).influence.sum((0, 2))
    scores = explained(run, SUMMED, nodes=3)
    ours = torch.tensor(scores.kernel.values)
    torch.testing.assert_close(ours[0], whole[:12].sum(0), atol=1e-6, rtol=0)
    torch.testing.assert_close(ours[1], whole[12:].sum(0), atol=1e-6, rtol=0)
    for keep in MODES[1:3]:
        with pytest.raises(QueryError, match="sample by sample"):
            explained(run, keep)


def test_kept_activations_of_the_users_model_stay(tmp_path: Path) -> None:
    model = Keeps(hidden=2)
    run = record_run(tmp_path / "run.zarr", momentum, model=model, steps=2)
    before = (model.last, model.history, model.notes, model.last.grad_fn)
    explained(run, SUMMED)
    after = (model.last, model.history, model.notes, model.last.grad_fn)
    assert all(a is b for a, b in zip(before, after, strict=True))
    assert before[3] is not None


@pytest.mark.filterwarnings("ignore:.*spectral_norm.*is deprecated:FutureWarning")
@pytest.mark.parametrize("apply", [nn.utils.spectral_norm, PARAMETRIZE.spectral_norm])
def test_spectral_norm_in_training_mode_is_refused_before_training(apply: Any, tmp_path: Path) -> None:
    model = nn.Sequential(apply(nn.Linear(3, 3)))
    with pytest.raises(RecordingError, match=r"spectral_norm estimates its norm anew.*\.eval\(\)"):
        explaind.record(tmp_path / "run.zarr", model, momentum(model))


@pytest.mark.parametrize("how", ["script", "trace"])
def test_script_modules_are_refused_before_training_and_when_asked(how: str, tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=Net(hidden=2), steps=2)
    scripted = torch.jit.script(run.model) if how == "script" else torch.jit.trace(run.model, run.test[0])
    with pytest.raises(RecordingError, match="is a ScriptModule"):
        explaind.record(tmp_path / "other.zarr", scripted, momentum(scripted))
    with pytest.raises(QueryError, match="is a ScriptModule"):
        explaind.influence(run.path, scripted, test=run.test[0])
    inside = nn.Sequential(scripted)
    with pytest.raises(RecordingError, match="ScriptModule"):
        explaind.record(tmp_path / "other.zarr", inside, momentum(inside))


def test_a_model_that_cannot_be_copied_is_refused(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=Net(hidden=2), steps=2)
    run.model.lock = threading.Lock()
    with pytest.raises(QueryError, match=r"cannot be copied.*locks"):
        explained(run, SUMMED)


class Counts(Net):
    """Adds to its outputs what earlier calls left: in an attribute, in place, or in a buffer."""

    def __init__(self, where: str) -> None:
        super().__init__(hidden=2)
        self.where, self.calls, self.sums = where, 0, torch.zeros(1, dtype=torch.float64)
        self.register_buffer("mean", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            return super().forward(x)
        out = super().forward(x)
        if self.where == "in place":
            self.sums += 1
            return out + self.sums
        if self.where == "buffer":
            self.mean += out.detach().mean()
        if self.where == "inputs":
            x.mul_(2.0)
        if self.where == "random":
            return nn.functional.dropout(out, 0.5, training=True)
        if self.where == "cut":
            return out.detach()
        self.calls += 1
        return out


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("in place", "outputs change from call to call"),
        ("random", "outputs change from call to call"),
        ("buffer", "changes 'mean'"),
        ("inputs", "changes its inputs"),
        ("cut", "carry no gradient"),
    ],
)
def test_calls_that_depend_on_earlier_ones_are_refused(where: str, words: str, tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=Counts(where), steps=2)
    with pytest.raises(QueryError, match=words):
        explained(run, SUMMED)


def test_a_counter_is_no_memory(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=Counts("attribute"), steps=2)
    check_by_definition(run, keeps=[SUMMED])
    assert run.model.calls == 0


class Remembers(Net):
    """A cache that a call under a transform would fill with tensors that outlive it."""

    cache: Tensor | None = None

    def forward(self, x: Tensor) -> Tensor:
        if self.cache is None or self.cache.shape != x.shape:
            self.cache = torch.zeros_like(x)
        return super().forward(x + self.cache)


def test_caches_are_put_back_after_every_call(tmp_path: Path) -> None:
    check_by_definition(record_run(tmp_path / "run.zarr", momentum, model=Remembers(hidden=2), steps=2))


class NoRules(torch.autograd.Function):
    """An operation of a user's own, without rules for torch.func."""

    @staticmethod
    def forward(context: Any, x: Tensor) -> Tensor:
        context.save_for_backward(x)
        return x.square()

    @staticmethod
    def backward(context: Any, gradient: Tensor) -> Tensor:
        return 2 * context.saved_tensors[0] * gradient


class Custom(Net):
    def forward(self, x: Tensor) -> Tensor:
        return self.second(NoRules.apply(self.first(x)))


@pytest.mark.parametrize("keep", MODES)
def test_operations_without_rules_are_refused_in_words(keep: tuple[str, ...], tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=Custom(hidden=2), steps=2)
    with pytest.raises(QueryError, match="cannot be differentiated"):
        explained(run, keep)


class Indexless(torch.utils.data.IterableDataset):
    def __iter__(self):
        yield torch.zeros(3), 1


class Items(torch.utils.data.Dataset):
    def __init__(self, items: list[Any]) -> None:
        self.items = items

    def __len__(self) -> int:
        return len(self.items)

    def __getitem__(self, index: int) -> Any:
        return self.items[index]


ZEROS = torch.zeros(3, dtype=torch.float64)
UNREADABLE = {
    "iterable": (Indexless(), "order that cannot be indexed.*Collect the samples"),
    "loader": (torch.utils.data.DataLoader(Items([(ZEROS, 1)])), "cannot be indexed.*loader.dataset"),
    "one sample": ((ZEROS, torch.tensor(1)), "no axis of samples.*unsqueeze"),
    "one number": (torch.tensor(1.0), "no axis of samples"),
    "ragged": (Items([(ZEROS, 1), (ZEROS[:2], 1)]), "does not give samples that form tensors"),
    "mappings": (Items([{"x": "a"}]), "not in a form that can be indexed.*dict"),
    "three tensors": ((ZEROS, ZEROS, ZEROS), "not in a form.*Tensor, Tensor, Tensor.*dictionary"),
    "sparse": (torch.eye(3).to_sparse(), "not a dense tensor"),
}


@pytest.mark.parametrize("name", UNREADABLE)
def test_samples_that_cannot_be_indexed(name: str, trained: Run) -> None:
    source, words = UNREADABLE[name]
    for which in ("test", "train"):
        chosen = {"test": trained.test[0], "train": trained.train, which: source}
        with pytest.raises(DataError, match=f"{which} .*{words}"):
            explaind.influence(trained.path, trained.model, trained.loss, **chosen)


def test_a_sample_without_its_axis_is_refused(trained: Run) -> None:
    """A tensor [features] alone could be many samples of one number: the model itself says that it is not."""
    with pytest.raises(ExplaindError, match="could not be evaluated on the test samples"):
        explaind.influence(trained.path, trained.model, test=ZEROS)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return record_run(tmp_path_factory.mktemp("models") / "run.zarr", momentum, model=Net(hidden=2), steps=2)
