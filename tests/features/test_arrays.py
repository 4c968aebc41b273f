"""Arrays of NumPy stand for tensors wherever samples are passed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

import explaind
from explaind.errors import DataError
from explaind.features.samples import Samples
from explaind.features.sources import as_tensor
from tests.attribution.tiny import Net, Run, make_data, record_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return record_run(
        tmp_path_factory.mktemp("arrays") / "run.zarr",
        lambda m: torch.optim.AdamW(m.parameters(), lr=0.02),
        steps=3,
    )


def arrays(pair: tuple[Tensor, Tensor]) -> tuple[np.ndarray, ...]:
    return tuple(part.numpy() for part in pair)


def test_the_same_numbers_as_with_tensors(run: Run) -> None:
    given = [
        {"train": run.train, "test": run.test},
        {"train": arrays(run.train), "test": arrays(run.test)},
        {"train": [run.train[0], run.train[1].numpy()], "test": (run.test[0].numpy(), run.test[1])},
        {"train": explaind.Augmented(arrays(run.train), lambda x, views: x), "test": arrays(run.test)},
    ]
    scores = [
        explaind.influence(run.path, run.model, run.loss, keep=("train", "test"), target="loss", **data)
        for data in given
    ]
    certificates = [explaind.verify(run.path, run.model, run.loss, **data) for data in given]
    for k in range(1, len(given)):
        assert scores[0].equals(scores[k])
        assert certificates[0].equals(certificates[k])
    inputs = explaind.influence(run.path, run.model, test=run.test[0].numpy())
    assert inputs.equals(explaind.influence(run.path, run.model, test=run.test[0]))
    assert explaind.plan(run.path, run.model, test=run.test[0].numpy()).tests == 3
    assert explaind.rehearse(run.path, run.model, run.loss, train=arrays(run.train)).passed
    assert explaind.verify(run.path, run.model, run.loss, train=arrays(run.train)).attrs["passed"]


def test_a_recording_is_rehearsed_with_arrays(tmp_path: Path) -> None:
    (x, y), _ = make_data()
    model = Net().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loss = nn.CrossEntropyLoss()
    with explaind.record(
        tmp_path / "run.zarr", model, optimizer, loss_fn=loss, train=(x.numpy(), y.numpy())
    ) as run:
        for _ in range(2):
            optimizer.zero_grad()
            loss(model(x), y).backward()
            run.batch(range(len(x)))
            optimizer.step()


def test_one_update_is_explained_with_arrays() -> None:
    torch.manual_seed(0)
    model = Net().double()
    state = explaind.TrainingState(model, torch.optim.AdamW(model.parameters(), lr=0.01))
    samples = torch.randn(6, 3, dtype=torch.float64)

    def losses(model: nn.Module, samples: Tensor) -> Tensor:
        return model(samples).square().sum(-1)

    plain, given = (
        explaind.explain_update(state, model, losses, train=of[:4], heldout=of[4:])
        for of in (samples, samples.numpy())
    )
    assert plain.score.equals(given.score)


@pytest.mark.parametrize("dtype", ["float32", "float64", "int64", "int32", "uint8", "bool", ">f8"])
def test_dtypes_are_kept(dtype: str) -> None:
    values = np.arange(6).reshape(3, 2).astype(dtype)
    values.flags.writeable = False
    tensor = as_tensor(values, "test")
    assert str(tensor.dtype).removeprefix("torch.") == values.dtype.newbyteorder("=").name
    np.testing.assert_array_equal(tensor.numpy(), values)
    assert Samples(values[::-1], "test").inputs.tolist() == values[::-1].tolist()


BROKEN: dict[str, Any] = {
    "objects": np.array([[1.0, 2.0], [3.0]], dtype=object),
    "text": np.array(["a", "b"]),
    "dates": np.array(["2026-01-01"], dtype="datetime64[D]"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_arrays_that_are_no_numbers_are_refused(run: Run, name: str) -> None:
    with pytest.raises(DataError, match=r"array that cannot be a tensor.*numbers or truth values.*dtype"):
        explaind.influence(run.path, run.model, test=BROKEN[name])
    with pytest.raises(DataError, match="train samples are an array"):
        explaind.influence(run.path, run.model, run.loss, train=(run.train[0], BROKEN[name]), test=run.test)


def test_a_masked_array_is_refused(run: Run) -> None:
    """Its values under the mask are no data."""
    masked = np.ma.masked_array(run.test[0].numpy(), mask=run.test[0].numpy() > 1)
    with pytest.raises(DataError, match=r"masked array.*values\.filled"):
        explaind.influence(run.path, run.model, test=masked)
