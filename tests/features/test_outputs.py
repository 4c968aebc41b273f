"""Models that return something else than one tensor: refused by name, and explained as the refusal says."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

import explaind
from explaind.errors import DataError, ExplaindError, QueryError, RecordingError
from explaind.features.outputs import describe, entry
from tests.attribution.tiny import make_data

TRAIN, TEST = make_data()


class ModelOutput(OrderedDict):
    """As language-model libraries have them: entries that are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


class Named(NamedTuple):
    hidden: Tensor
    scores: Tensor


@dataclass
class Fields:
    loss: Tensor | None
    logits: Tensor


RETURNED: dict[str, tuple[Callable[[Tensor], Any], str, str]] = {
    "dict": (lambda f: {"loss": f.mean(), "logits": f}, "dict with the keys loss, logits", '["logits"]'),
    "dict without logits": (lambda f: {"loss": f.mean(), "out": f}, "dict with the keys loss, out", '["out"]'),
    "ModelOutput": (
        lambda f: ModelOutput(scores=f, state=None), "ModelOutput with the keys scores, state", '["scores"]'
    ),
    "tuple": (lambda f: (None, f), "tuple of NoneType, Tensor", "[1]"),
    "list": (lambda f: [f], "list of Tensor", "[0]"),
    "named tuple": (lambda f: Named(f, f), "Named with the fields hidden, scores", ".hidden"),
    "data class": (lambda f: Fields(None, f), "Fields with the fields loss, logits", ".logits"),
}  # fmt: skip


class Returning(nn.Module):
    """A linear map whose outputs are packed."""

    def __init__(self, pack: Callable[[Tensor], Any]) -> None:
        super().__init__()
        self.linear, self.pack = nn.Linear(3, 3), pack

    def forward(self, x: Tensor) -> Any:
        return self.pack(self.linear(x))


def trained(path: Path, pack: Callable[[Tensor], Any], **options: Any) -> tuple[nn.Module, Any]:
    torch.manual_seed(0)
    model = Returning(pack).double()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.02)
    with explaind.record(path, model, optimizer, **options) as run:
        for _ in range(3):
            optimizer.zero_grad()
            cross_entropy(model.linear(TRAIN[0]), TRAIN[1]).backward()
            run.batch(range(len(TRAIN[0])))
            optimizer.step()
    return model, optimizer


@pytest.mark.parametrize("name", RETURNED)
def test_refused_with_what_was_returned_and_explained_as_the_refusal_says(tmp_path: Path, name: str) -> None:
    pack, said, code = RETURNED[name]
    model, _ = trained(tmp_path / "run.zarr", pack)
    run, data = tmp_path / "run.zarr", {"train": TRAIN, "test": TEST}
    for ask in (explaind.influence, explaind.plan, explaind.verify):
        with pytest.raises(QueryError) as caught:
            ask(run, model, cross_entropy, **data)
        text = str(caught.value)
        assert "does not return one tensor" in text
        assert said in text
        assert f"forward=lambda module, inputs: module(inputs){code} " in text
    rehearsed = explaind.rehearse(run, model, cross_entropy, train=TRAIN)
    assert not rehearsed.passed
    assert said in str(rehearsed)

    first = text.index("    class Outputs")
    names: dict[str, Any] = {"nn": nn}
    exec(
        text[first : text.index("\nand pass")].replace("\n    ", "\n").strip(), names
    )  # the code of the refusal
    wrapped = explaind.influence(run, names["Outputs"](model), cross_entropy, **data)
    adapted = explaind.influence(
        run, model, cross_entropy, **data, forward=eval(f"lambda module, inputs: module(inputs){code}")
    )
    assert wrapped.equals(adapted)


def test_refused_while_recording_and_not_with_forward(tmp_path: Path) -> None:
    pack, said, _ = RETURNED["ModelOutput"]
    options = {"loss_fn": cross_entropy, "train": TRAIN}
    with pytest.raises(RecordingError, match="does not return one tensor") as caught:
        trained(tmp_path / "run.zarr", pack, **options)
    assert said in str(caught.value)
    trained(tmp_path / "again.zarr", pack, **options, forward=lambda module, inputs: module(inputs).scores)


def test_logits_of_a_model_output_are_its_outputs(tmp_path: Path) -> None:
    model, _ = trained(tmp_path / "run.zarr", lambda f: ModelOutput(logits=f, loss=None))
    run, data = tmp_path / "run.zarr", {"train": TRAIN, "test": TEST}
    named = explaind.influence(run, model, cross_entropy, **data, forward=lambda m, x: m(x).logits)
    assert explaind.influence(run, model, cross_entropy, **data).equals(named)


def test_a_loss_of_one_update_that_takes_the_outputs_for_a_tensor(tmp_path: Path) -> None:
    pack, said, code = RETURNED["ModelOutput"]
    model, optimizer = trained(tmp_path / "run.zarr", pack)
    samples = torch.cat([TRAIN[0], TRAIN[1][:, None].double()], dim=1)

    def losses(model: nn.Module, samples: Tensor) -> Tensor:
        return model(samples[:, :3]).log_softmax(-1).gather(-1, samples[:, 3:].long()).squeeze(-1)

    with pytest.raises(DataError) as caught:
        explaind.explain_update(
            explaind.TrainingState(model, optimizer), model, losses, train=samples[:4], heldout=samples[4:]
        )
    assert said in str(caught.value)
    assert f"model(inputs){code}" in str(caught.value)


def test_words_for_what_has_no_tensor() -> None:
    assert describe(None) == "NoneType"
    assert describe({}) == "dict without keys"
    assert describe(()) == "empty tuple"
    assert describe({str(i): i for i in range(20)}).endswith("7, …")
    assert entry({}) == '["logits"]'
    assert entry({3: torch.zeros(2)}) == "[3]"
    assert issubclass(QueryError, ExplaindError)
