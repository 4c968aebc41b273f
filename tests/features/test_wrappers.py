"""Models that are wrapped now or were wrapped when recorded, and models that need an adapter to be called."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import explaind
from explaind.errors import QueryError, StoreError
from tests.attribution.tiny import Net, Run, record_run
from tests.features.brute import SUMMED, check_by_definition, explained, momentum

# torch.compile's own, and turned into its own errors where warnings are errors
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor:UserWarning")


class Wrapped(nn.Module):
    """A module of a user's own around another, under the attribute `name`."""

    def __init__(self, module: nn.Module, name: str = "net") -> None:
        super().__init__()
        self.name = name
        setattr(self, name, module)

    def forward(self, x: Tensor) -> Tensor:
        return getattr(self, self.name)(x)


def net() -> nn.Module:
    torch.manual_seed(0)
    return Net(hidden=2).double()


def compiled(module: nn.Module) -> nn.Module:
    return torch.compile(module, backend="eager")


def part_compiled(module: nn.Module) -> nn.Module:
    module.second = compiled(module.second)
    return module


WRAPPERS: dict[str, Callable[[nn.Module], nn.Module]] = {
    "compiled": compiled,
    "parallel": nn.DataParallel,
    "own": Wrapped,
    "own twice": lambda module: Wrapped(Wrapped(module, "inner"), "outer"),
    "compiled and parallel": lambda module: nn.DataParallel(compiled(module)),
    "own and compiled": lambda module: compiled(Wrapped(module)),
    "part compiled": part_compiled,
}


@pytest.mark.parametrize("name", WRAPPERS)
def test_wrapped_later_or_when_recorded(name: str, tmp_path: Path) -> None:
    plain, wrapped = (
        record_run(tmp_path / f"{which}.zarr", momentum, model=wrap(net()), steps=2)
        for which, wrap in (("plain", lambda module: module), ("wrapped", WRAPPERS[name]))
    )
    expected = [explained(plain, keep) for keep in (SUMMED, ("train", "test"))]
    pairs = [(plain, WRAPPERS[name](net())), (wrapped, net()), (wrapped, WRAPPERS[name](net()))]
    for run, model in pairs:
        for keep, known in zip((SUMMED, ("train", "test")), expected, strict=True):
            found = explained(replace(run, model=model), keep)
            torch.testing.assert_close(
                torch.tensor(found.kernel.values), torch.tensor(known.kernel.values), atol=1e-12, rtol=0
            )


def test_a_compiled_run_by_definition(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=compiled(net()), steps=2)
    check_by_definition(run, twin=Wrapped(net(), "_orig_mod"))


def test_a_function_that_is_compiled(tmp_path: Path) -> None:
    class Inside(Net):
        @torch.compile(backend="eager")
        def bend(self, h: Tensor) -> Tensor:
            return torch.tanh(h)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(self.bend(self.first(x)))

    torch.manual_seed(0)
    run = record_run(tmp_path / "run.zarr", momentum, model=Inside(hidden=2).double(), steps=2)
    check_by_definition(run, twin=net())


@pytest.mark.parametrize(
    "other",
    [
        lambda: Net(hidden=3),
        lambda: Wrapped(Net(hidden=3)),
        lambda: nn.ModuleDict({"net": Net(hidden=2), "more": nn.Linear(1, 1)}),
        lambda: nn.ModuleDict({"a": Net(hidden=2).first, "b": Net(hidden=2).second}),
        lambda: Wrapped(Net(hidden=2).float()),
        lambda: nn.Linear(3, 2),
    ],
)
def test_another_model_is_another_model(other: Callable[[], nn.Module], tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=net(), steps=2)
    model = other()
    model = model if any(p.dtype == torch.float32 for p in model.parameters()) else model.double()
    with pytest.raises(StoreError, match="is not the one recorded"):
        explaind.influence(run.path, model, test=run.test[0])


def test_a_resumed_run_needs_the_very_names(tmp_path: Path) -> None:
    run = record_run(tmp_path / "run.zarr", momentum, model=net(), steps=4)
    wrapped = Wrapped(net())
    with (
        pytest.raises(StoreError, match="is not the one recorded"),
        explaind.record(run.path, wrapped, momentum(wrapped), resume=True),
    ):
        pass


def test_targets_inside_a_wrapped_model(tmp_path: Path) -> None:
    """Paths are those of the model that is passed, without torch's own wrappers."""
    run = record_run(tmp_path / "run.zarr", momentum, model=net(), steps=2)
    known = explained(run, SUMMED, target="first")
    for model, path in ((compiled(net()), "first"), (Wrapped(net()), "net.first")):
        found = explained(replace(run, model=model), SUMMED, target=path)
        torch.testing.assert_close(torch.tensor(found.kernel.values), torch.tensor(known.kernel.values))


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor


class Language(Net):
    """Takes two arguments and returns an object, as transformers' models do."""

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Output:
        hidden = torch.tanh(self.first(x if mask is None else x * mask))
        return Output(self.second(hidden), hidden)


def logits(module: nn.Module, inputs: Tensor) -> Tensor:
    """Inputs and mask packed into one tensor [n, 2, 3], or inputs alone."""
    return (module(inputs) if inputs.dim() == 2 else module(inputs[:, 0], mask=inputs[:, 1])).logits


@pytest.fixture
def language(tmp_path: Path) -> tuple[Run, Run]:
    """A run of the model that returns objects, trained through its logits, and one of its plain twin."""

    class Trained(Language):
        def forward(self, x: Tensor, mask: Tensor | None = None) -> Any:
            found = super().forward(x, mask)
            return found.logits if self.training else found

    torch.manual_seed(0)
    run = record_run(tmp_path / "objects.zarr", momentum, model=Trained(hidden=2).double(), steps=2)
    twin = record_run(tmp_path / "plain.zarr", momentum, model=net(), steps=2)
    return replace(run, model=Language(hidden=2).double()), twin


def test_outputs_that_are_no_tensor_are_refused_with_the_remedy(language: tuple[Run, Run]) -> None:
    for keep in (SUMMED, ("train", "test")):
        with pytest.raises(QueryError, match=r"does not return one tensor.*Output.*forward="):
            explained(language[0], keep)


def test_an_adapter_is_the_model(language: tuple[Run, Run]) -> None:
    run, twin = language
    check_by_definition(run, twin=net(), forward=logits)
    for target in ("loss", "second", lambda f, y: f[:, 0]):
        options = {"target": target, "test": run.test, "nodes": 3}
        found, known = explained(run, SUMMED, forward=logits, **options), explained(twin, SUMMED, **options)
        torch.testing.assert_close(torch.tensor(found.kernel.values), torch.tensor(known.kernel.values))
    plan = explaind.plan(run.path, run.model, test=run.test[0], forward=logits, keep=SUMMED)
    assert plan.tests == len(run.test[0])


def test_several_inputs_packed_into_one(language: tuple[Run, Run]) -> None:
    run, twin = language
    mask = torch.ones_like(run.test[0])
    mask[:, 1] = 0
    packed = torch.stack([run.test[0], mask], dim=1)
    found = explained(run, SUMMED, forward=logits, test=packed)
    known = explained(twin, SUMMED, test=run.test[0] * mask)
    torch.testing.assert_close(torch.tensor(found.kernel.values), torch.tensor(known.kernel.values))


def test_an_adapter_that_calls_another_module_is_refused(language: tuple[Run, Run]) -> None:
    run, _ = language
    with pytest.raises(QueryError, match=r"carry no gradient.*another module"):
        explained(run, SUMMED, forward=lambda module, inputs: run.model(inputs).logits.detach())
    with pytest.raises(QueryError, match="carry no gradient"):
        explained(run, SUMMED, forward=lambda module, inputs: run.model(inputs).logits)
