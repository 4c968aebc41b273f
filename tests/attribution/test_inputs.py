"""Data as it comes: inputs of several tensors, dictionaries, Datasets that are read as needed, models of transformers."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

import explaind
from explaind.errors import DataError, QueryError
from explaind.reference.recordings import model_value
from tests.attribution.tiny import Run
from tests.situations import EXACT, situation

CLASSES, TRAIN, TEST, LENGTH = 5, 6, 2, 4
BATCHES = [[0, 1, 2], [3, 4, 5], [0, 5]]


class Several(nn.Module):
    """Ids [n, T] through an embedding, where the mask [n, T] is set, with numbers [n, T]."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(CLASSES, 3)
        self.out = nn.Linear(3, CLASSES)

    def forward(self, ids: Tensor, mask: Tensor, numbers: Tensor) -> Tensor:
        h = torch.tanh(self.embed(ids)) * (mask * numbers).unsqueeze(-1)
        return self.out(h.sum(1))


def several(count: int, seed: int = 0) -> tuple[dict[str, Tensor], Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, CLASSES, (count, LENGTH), generator=generator)
    mask = (torch.arange(LENGTH) < torch.randint(2, LENGTH + 1, (count, 1), generator=generator)).long()
    numbers = torch.rand(count, LENGTH, generator=generator, dtype=torch.float64)
    labels = torch.randint(0, CLASSES, (count,), generator=generator)
    return {"ids": ids, "mask": mask, "numbers": numbers}, labels


def pick(inputs: Any, index: list[int]) -> Any:
    return {name: part[index] for name, part in inputs.items()}


class Asks(Run):
    """The definition, with a model that takes keyword arguments: it sees one tensor of sample numbers."""

    def reference(self, value: Callable | None = None, **window: Any):
        inputs, plain = self.train[0], self.model
        self.model = Numbered(plain, inputs)
        self.train = (torch.arange(len(self.train[1])), self.train[1])
        tests = Numbered(plain, self.test[0], flat=True)
        value = value or model_value(tests, torch.arange(len(self.test[1])))
        try:
            return super().reference(value, **window)
        finally:
            self.model, self.train = plain, (inputs, self.train[1])


class Numbered(nn.Module):
    """Called with numbers of samples, under the names of the module's parameters."""

    def __init__(self, module: nn.Module, inputs: dict[str, Tensor], flat: bool = False) -> None:
        super().__init__()
        self._modules.update(module._modules)
        self._module, self._inputs, self._flat = [module], inputs, flat

    def forward(self, index: Tensor) -> Tensor:
        module = self._module[0]
        held = dict(module._modules)
        try:
            module._modules.update(self._modules)
            outputs = module(**pick(self._inputs, index.tolist()))
        finally:
            module._modules.update(held)
        outputs = outputs if isinstance(outputs, Tensor) else outputs.logits
        return outputs.flatten(1) if self._flat else outputs


def train(
    path: Path,
    model: nn.Module,
    data: tuple[dict[str, Tensor], Tensor],
    test: tuple[dict[str, Tensor], Tensor],
    loss: Callable = F.cross_entropy,
    weights: Callable[[list[int]], float | None] = lambda index: None,
) -> Asks:
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02, weight_decay=0.1)
    with explaind.record(path, model, optimizer, chunk_steps=2) as run:
        for index in BATCHES:
            optimizer.zero_grad()
            outputs = model(**pick(data[0], index))
            outputs = outputs if isinstance(outputs, Tensor) else outputs.logits
            scale = weights(index)
            (loss(outputs, data[1][index]) * (1.0 if scale is None else scale)).backward()
            run.batch(index, scale)
            optimizer.step()
    return Asks(path, model, loss, data, test, BATCHES)


def explained(run: Run, keep: tuple[str, ...] = ("step", "train", "test", "output"), **options: Any):
    options = {"train": run.train, "test": run.test[0], "tolerance": 1e-10, "max_nodes": 243} | options
    return explaind.influence(run.path, run.model, run.loss, keep=keep, tail_tolerance=0, **options)


def check(run: Asks, scores, atol: float = 1e-8) -> None:
    reference = run.reference(nodes=12)
    assert reference.replay < 1e-11
    truth = reference.influence.sum(1)
    assert float(truth.abs().max()) > 1e-4
    torch.testing.assert_close(torch.tensor(scores.kernel.values), truth, atol=atol, rtol=0)


@pytest.fixture
def run(tmp_path: Path) -> Asks:
    torch.manual_seed(0)
    return train(tmp_path / "run.zarr", Several().double(), several(TRAIN), several(TEST, 1))


@situation("Data", "inputs of several tensors, a dictionary of keyword arguments", EXACT)
def test_dictionaries(run: Asks) -> None:
    check(run, explained(run))
    summed = explained(run, ("layer", "test", "output"))
    assert float(abs(summed.residual).max()) < 1e-8
    for test in (run.test, None):
        assert explaind.verify(run.path, run.model, run.loss, train=run.train, test=test).attrs["passed"]


@situation("Data", "a dictionary with its labels inside", EXACT)
def test_labels_inside(run: Asks) -> None:
    inside = {**run.train[0], "labels": run.train[1]}
    torch.testing.assert_close(explained(run, train=inside).kernel.values, explained(run).kernel.values)


@situation("Data", "inputs of several tensors, a tuple", EXACT)
def test_tuples(run: Asks) -> None:
    several = tuple(run.train[0].values()), run.train[1]
    scores = explained(run, train=several, test=(tuple(run.test[0].values()), run.test[1]))
    torch.testing.assert_close(scores.kernel.values, explained(run).kernel.values)


def test_an_adapter_gets_what_was_passed(run: Asks) -> None:
    scores = explained(run, forward=lambda module, inputs: module(**inputs))
    torch.testing.assert_close(scores.kernel.values, explained(run).kernel.values)


class Items(Dataset):
    """Items of a dictionary and a label, read one by one."""

    def __init__(self, data: tuple[dict[str, Tensor], Tensor]) -> None:
        self.data, self.read = data, 0

    def __len__(self) -> int:
        return len(self.data[1])

    def __getitem__(self, k: int) -> tuple[dict[str, Tensor], Tensor]:
        self.read += 1
        return {name: part[k] for name, part in self.data[0].items()}, self.data[1][k]


@situation("Data", "a Dataset whose items are dictionaries", EXACT)
def test_datasets(run: Asks) -> None:
    torch.testing.assert_close(
        explained(run, train=Items(run.train)).kernel.values, explained(run).kernel.values
    )


@situation("Data", "a Dataset that does not fit in memory, read a batch at a time", EXACT)
def test_large_datasets(run: Asks, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("explaind.features.sources.IN_MEMORY", 0)
    items = Items(run.train)
    whole = explained(run)
    scores = explained(run, train=items)
    torch.testing.assert_close(scores.kernel.values, whole.kernel.values)
    before = items.read
    explained(run, ("train", "test"), train=items, steps=slice(1, 2))
    assert items.read - before > 0
    assert (
        explaind.plan(run.path, run.model, run.loss, train=items, test=run.test[0], keep=("train",)).seconds
        > 0
    )


@situation("Data", "arrays of NumPy mapped from a file (np.memmap)", EXACT)
def test_mapped_arrays(run: Asks, tmp_path: Path) -> None:
    mapped = {}
    for name, part in run.train[0].items():
        np.save(tmp_path / f"{name}.npy", part.numpy())
        mapped[name] = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    torch.testing.assert_close(
        explained(run, train=(mapped, run.train[1].numpy())).kernel.values, explained(run).kernel.values
    )


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda d: {**d, "mask": d["mask"][:-1]}, "different length"),
        (lambda d: {**d, "mask": "all"}, "cannot be indexed|form"),
        (lambda d: {"ids": d["ids"], "masks": d["mask"], "numbers": d["numbers"]}, "different tensors"),
        (lambda d: {**d, "numbers": d["numbers"] * torch.nan}, "NaN"),
    ],
)
def test_inputs_that_do_not_fit(run: Asks, change: Callable, words: str) -> None:
    with pytest.raises(DataError, match=words):
        explained(run, train=(change(run.train[0]), run.train[1]))


def test_names_that_are_no_arguments_of_the_model(run: Asks) -> None:
    names = {"ids": "ids", "mask": "padding", "numbers": "numbers"}
    other = {names[name]: part for name, part in run.test[0].items()}
    with pytest.raises(QueryError, match="could not be evaluated on the test samples.*padding"):
        explained(run, ("layer", "test"), train=None, test=other)


class Tagger(nn.Module):
    """A recurrent network with an output for each position."""

    def __init__(self, kind: type[nn.RNNBase]) -> None:
        super().__init__()
        self.embed, self.layer = nn.Embedding(CLASSES, 3), kind(3, 4, batch_first=True)
        self.out = nn.Linear(4, CLASSES)

    def forward(self, ids: Tensor) -> Tensor:
        return self.out(self.layer(self.embed(ids))[0])


def token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    return F.cross_entropy(logits.flatten(0, 1), labels.flatten(), ignore_index=-100, reduction="sum")


@pytest.mark.parametrize(
    "kind",
    [
        pytest.param(
            nn.LSTM, marks=situation("Models and losses", "an LSTM, with an output for each position", EXACT)
        ),
        pytest.param(
            nn.GRU, marks=situation("Models and losses", "a GRU, with an output for each position", EXACT)
        ),
    ],
)
@situation("Data", "targets [n, T] with ignore_index, credited by sequence", EXACT)
def test_sequences(tmp_path: Path, kind: type[nn.RNNBase]) -> None:
    run = sequences(tmp_path / "run.zarr", kind)
    check(run, explained(run), atol=2e-7)  # of the integral: gates bend the path more than other models


def sequences(path: Path, kind: type[nn.RNNBase] = nn.GRU) -> Asks:
    torch.manual_seed(0)
    (inputs, _), (other, _) = several(TRAIN), several(TEST, 1)
    labels = torch.where(inputs["mask"].bool(), inputs["ids"].roll(1, 1), -100)

    def weight(index: list[int]) -> float:
        return 1 / int((labels[index] != -100).sum())

    data = {"ids": inputs["ids"]}, labels
    test = {"ids": other["ids"]}, torch.zeros(TEST, LENGTH, dtype=torch.long)
    return train(path, Tagger(kind).double(), data, test, token_loss, weight)


@situation("Data", "the same, credited by token (explaind.Tokens)", EXACT)
def test_tokens(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = sequences(tmp_path / "run.zarr")
    inputs, labels = run.train
    tokens = explained(run, train=explaind.Tokens(run.train))
    by_position = tokens.kernel.values.reshape(3, TRAIN, LENGTH, TEST, -1)
    torch.testing.assert_close(by_position.sum(2), explained(run).kernel.values, rtol=0, atol=1e-12)
    assert not by_position[:, labels == -100].any()
    # One token by itself: the definition of a run whose loss has that one alone for sample 5.
    one = torch.full_like(labels[5], -100)
    one[1] = labels[5, 1]
    alone = Asks(run.path, run.model, token_loss, (inputs, labels.clone()), run.test, BATCHES)
    alone.train[1][5] = one
    truth = alone.reference(nodes=12).influence.sum(1)[:, 5]
    torch.testing.assert_close(torch.tensor(by_position[:, 5, 1]).flatten(2), truth, rtol=0, atol=2e-7)
    chosen = explained(run, ("train", "test", "output"), train=explaind.Tokens(run.train), samples=[21, 3])
    torch.testing.assert_close(chosen.kernel.values[0], by_position.sum(0)[5, 1], rtol=0, atol=1e-7)
    monkeypatch.setattr(sys.modules["explaind.attribution.plan"], "cheaper", lambda problem, rows: True)
    products = explained(run, ("layer", "train", "test"), train=explaind.Tokens(run.train))
    torch.testing.assert_close(
        products.kernel.sum("layer").values, tokens.kernel.sum(("step", "output")).values, rtol=0, atol=1e-7
    )


@situation("Data", "a micro-batch of which no token has a label, credited by token", EXACT)
def test_a_micro_batch_without_tokens(tmp_path: Path) -> None:
    torch.manual_seed(0)
    (inputs, _), (other, _) = several(TRAIN), several(TEST, 1)
    labels = inputs["ids"].roll(1, 1)
    labels[[0, 5]] = -100
    data, test, model = {"ids": inputs["ids"]}, {"ids": other["ids"]}, Tagger(nn.GRU).double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02, momentum=0.9)
    with explaind.record(tmp_path / "run.zarr", model, optimizer, chunk_steps=2) as recorder:
        for step in ([[0, 5], [1, 2]], [[3, 4], [5]]):
            optimizer.zero_grad()
            for index in step:
                (token_loss(model(inputs["ids"][index]), labels[index]) / 8).backward()
                recorder.batch(index, 1 / 8)
            optimizer.step()
    run = Asks(tmp_path / "run.zarr", model, token_loss, (data, labels), (test, None), [])
    whole = explained(run, ("train", "test", "output"))
    tokens = explained(run, ("train", "test", "output"), train=explaind.Tokens(run.train))
    by_position = tokens.kernel.values.reshape(TRAIN, LENGTH, *whole.kernel.shape[1:])
    torch.testing.assert_close(by_position.sum(1), whole.kernel.values, rtol=0, atol=1e-10)
    assert not by_position[[0, 5]].any() and by_position[1:5].any()
    buffered = explained(run, train=explaind.Tokens(run.train))
    torch.testing.assert_close(buffered.kernel.sum("step").values, tokens.kernel.values, rtol=0, atol=1e-8)


def test_tokens_of_what_has_none(run: Asks) -> None:
    with pytest.raises(DataError, match="positions of sequences"):
        explained(run, train=explaind.Tokens(run.train))


@situation("Models and losses", "an embedding with padding_idx, whose row decays", EXACT)
def test_padding_rows(tmp_path: Path) -> None:
    """The row enters outputs and moves by weight decay alone; its gradient is dropped in training, not in the derivative."""

    class Padded(Several):
        def __init__(self) -> None:
            super().__init__()
            self.embed = nn.Embedding(CLASSES, 3, padding_idx=1)
            nn.init.normal_(self.embed.weight)

    torch.manual_seed(0)
    run = train(tmp_path / "run.zarr", Padded().double(), several(TRAIN), several(TEST, 1))
    value = model_value(Numbered(Several().double(), run.test[0]), torch.arange(TEST))
    reference = run.reference(value, nodes=12)
    scores = explained(run, ("step", "layer", "test", "output"))
    assert float(abs(scores.residual).max()) < 1e-8
    for name, truth in (("kernel", reference.influence.sum(2)), ("regularization", reference.regularization)):
        torch.testing.assert_close(
            torch.tensor(scores[name].sum("layer").values), truth.sum(1), atol=1e-8, rtol=0
        )
    truth = reference.influence.sum(1)
    torch.testing.assert_close(torch.tensor(explained(run).kernel.values), truth, atol=1e-8, rtol=0)
