"""Targets against the definition: the value that is decomposed changes, φ and r stay (Corollary 3.3)."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.func import functional_call

import explaind
from explaind.errors import QueryError
from tests.attribution.tiny import Net, Run, make_data, record_run

PROJECTION = torch.tensor([[1.0, 0.0], [0.5, -2.0], [0.0, 3.0]], dtype=torch.float64)


def entropy(f: Tensor, y: Tensor | None) -> Tensor:
    return -(f.softmax(-1) * f.log_softmax(-1)).sum(-1)


def project(f: Tensor, y: Tensor | None) -> Tensor:
    return f @ PROJECTION.to(f)


def literal_margin(f: Tensor, y: Tensor) -> Tensor:
    """One sample and one class at a time."""
    rows = []
    for values, label in zip(f, y.tolist(), strict=True):
        others = torch.cat([values[:label], values[label + 1 :]])
        rows.append(values[label] - others.max())
    return torch.stack(rows).unsqueeze(1)


# name → (what is asked for, the same written out on (model, θ, x, y) → [X, O], number of columns)
TARGETS = {
    "loss": ("loss", lambda m, t, x, y: F.cross_entropy(call(m, t, x), y, reduction="none")[:, None], 1),
    "margin": ("margin", lambda m, t, x, y: literal_margin(call(m, t, x), y), 1),
    "one coordinate": (lambda f, y: f[:, 1], lambda m, t, x, y: call(m, t, x)[:, 1:2], 1),
    "projection": (project, lambda m, t, x, y: call(m, t, x) @ PROJECTION, 2),
    "entropy": (entropy, lambda m, t, x, y: entropy(call(m, t, x), None)[:, None], 1),
    "of an activation": (
        ("first", lambda a, y: torch.stack([a.sum(-1), a.square().sum(-1)], -1)),
        lambda m, t, x, y: torch.stack(
            [(a := F.linear(x, t["first.weight"], t["first.bias"])).sum(-1), a.square().sum(-1)], -1
        ),
        2,
    ),
    "activation": ("first", lambda m, t, x, y: F.linear(x, t["first.weight"], t["first.bias"]), 4),
}


def call(model: nn.Module, theta: dict[str, Tensor], x: Tensor) -> Tensor:
    return functional_call(model, theta, (x,))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    path = tmp_path_factory.mktemp("targets") / "run.zarr"
    make = lambda m: torch.optim.AdamW(m.parameters(), lr=0.02, weight_decay=0.5)  # noqa: E731
    return record_run(path, make, steps=3)


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.parametrize("keep", [("layer", "test", "output"), ("train", "test", "output")])
def test_target_equals_the_definition(run: Run, name: str, keep: tuple[str, ...]) -> None:
    target, literal, columns = TARGETS[name]
    x, y = run.test
    reference = run.reference(lambda theta: literal(run.model, theta, x, y), nodes=12)
    scores = explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test,
        keep=keep, target=target, tolerance=1e-10, max_nodes=243, tail_tolerance=0,
    )  # fmt: skip
    influence = reference.influence.sum(0)  # [D, N, X, O]
    layers = torch.stack([influence[:16].sum((0, 1)), influence[16:].sum((0, 1))])
    expected = influence.sum(0) if "train" in keep else layers
    assert scores.sizes["output"] == columns
    torch.testing.assert_close(torch.tensor(scores.kernel.values), expected, atol=2e-8, rtol=0)
    torch.testing.assert_close(torch.tensor(scores.initial.values), reference.initial, atol=1e-12, rtol=0)
    torch.testing.assert_close(torch.tensor(scores.final.values), reference.final, atol=1e-12, rtol=0)
    assert float(abs(scores.residual).max()) < 1e-8


@pytest.mark.parametrize("nodes", [None, 3])
def test_layers_behind_an_activation_have_no_influence_on_it(run: Run, nodes: int | None) -> None:
    scores = explaind.influence(
        run.path, run.model, run.loss, test=run.test[0], keep=("layer", "test", "output"),
        target="first", nodes=nodes, tolerance=0, max_nodes=9,
    )  # fmt: skip
    assert float(abs(scores.kernel.sel(layer="second")).max()) == 0.0
    assert float(abs(scores.regularization.sel(layer="second")).max()) == 0.0
    assert float(abs(scores.residual).max()) < 1e-14  # the first layer is linear in θ


@pytest.mark.parametrize("path", ["frist", "firs", "first.weight"])
@pytest.mark.parametrize("function", [None, entropy])
def test_an_unknown_module_is_refused_with_close_names(run: Run, path: str, function) -> None:
    target = path if function is None else (path, function)
    with pytest.raises(QueryError, match="no module called") as caught:
        explaind.influence(run.path, run.model, run.loss, test=run.test, target=target)
    assert "first" in caught.value.remedy


@pytest.mark.parametrize("target", [("first",), ("first", "second"), (entropy, "first"), 3])
def test_a_target_that_is_none_is_refused(run: Run, target) -> None:
    with pytest.raises(QueryError, match="not understood"):
        explaind.influence(run.path, run.model, run.loss, test=run.test, target=target)


def test_a_module_without_one_activation_is_refused(tmp_path) -> None:
    class Twice(Net):
        def __init__(self) -> None:
            super().__init__(3, 3, 3)

        def forward(self, x: Tensor) -> Tensor:
            return self.second(torch.tanh(self.first(torch.tanh(self.first(x)))))

    twice = record_run(
        tmp_path / "run.zarr", lambda m: torch.optim.SGD(m.parameters(), lr=0.1), model=Twice(), steps=1
    )
    with pytest.raises(QueryError, match="no single activation") as caught:
        explaind.influence(twice.path, twice.model, twice.loss, test=twice.test, target="first")
    assert "2 calls" in caught.value.got


@pytest.mark.parametrize("target", ["loss", "margin"])
def test_targets_that_read_labels_need_them(run: Run, target: str) -> None:
    with pytest.raises(QueryError, match="needs the test targets"):
        explaind.influence(run.path, run.model, run.loss, test=run.test[0], target=target)


def test_the_loss_needs_a_loss_function(run: Run) -> None:
    with pytest.raises(QueryError, match="needs a loss function"):
        explaind.influence(run.path, run.model, test=run.test, target="loss")


def test_a_margin_needs_two_outputs(tmp_path) -> None:
    one = record_run(
        tmp_path / "run.zarr",
        lambda m: torch.optim.SGD(m.parameters(), lr=0.1),
        model=Net(classes=1),
        loss=lambda f, y: (f.squeeze(-1) - y).square().mean(),
    )
    labels = torch.zeros(3, dtype=torch.int64)
    with pytest.raises(QueryError, match="not finite"):
        explaind.influence(one.path, one.model, one.loss, test=(one.test[0], labels), target="margin")


def test_a_float_target_and_a_single_output(tmp_path) -> None:
    """Regression: outputs [n], targets of floating point, and the squared error as the target."""

    class Regression(Net):
        def __init__(self) -> None:
            super().__init__(classes=1)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x).squeeze(-1)

    torch.manual_seed(0)
    model = Regression().double()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    (train, _), (test, _) = make_data()
    goal = torch.linspace(-1, 1, 7, dtype=torch.float64)
    with explaind.record(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(3):
            optimizer.zero_grad()
            F.mse_loss(model(train), goal).backward()
            recorder.batch(range(7))
            optimizer.step()
    run = Run(tmp_path / "run.zarr", model, F.mse_loss, (train, goal), (test, goal[:3]), [])
    for target, literal in (
        ("output", lambda theta: call(model, theta, test)[:, None]),
        ("loss", lambda theta: (call(model, theta, test) - goal[:3]).square()[:, None]),
    ):
        reference = run.reference(literal, nodes=12)
        for keep in (("train", "test", "output"), ("train", "test")):
            scores = explaind.influence(
                run.path, model, run.loss, train=run.train, test=run.test, keep=keep, target=target,
                tolerance=1e-10, max_nodes=243, tail_tolerance=0,
            )  # fmt: skip
            expected = reference.influence.sum((0, 1))
            got = torch.tensor(scores.kernel.values).reshape(expected.shape)
            torch.testing.assert_close(got, expected, atol=2e-8, rtol=0)


def test_outputs_with_more_axes_are_columns(tmp_path) -> None:
    """A net on sequences, outputs [n, positions, classes]: columns in row-major order."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(4, 3), nn.Tanh(), nn.Linear(3, 4)).double()
    tokens = torch.randint(0, 4, (6, 2))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.5)

    def loss(f: Tensor, y: Tensor) -> Tensor:
        return F.cross_entropy(f.flatten(0, 1), y.flatten())

    train, test = (tokens[:4], tokens[:4].roll(1, 1)), (tokens[4:], tokens[4:].roll(1, 1))
    with explaind.record(tmp_path / "run.zarr", model, optimizer) as recorder:
        for _ in range(2):
            optimizer.zero_grad()
            loss(model(train[0]), train[1]).backward()
            recorder.batch(range(4))
            optimizer.step()
    run = Run(tmp_path / "run.zarr", model, loss, train, test, [])
    reference = run.reference(lambda theta: call(model, theta, test[0]).flatten(1), nodes=12)
    scores = explaind.influence(
        run.path, model, loss, train=train, test=test, keep=("train", "test", "output"),
        tolerance=1e-10, max_nodes=243, tail_tolerance=0,
    )  # fmt: skip
    assert scores.sizes["output"] == 8
    torch.testing.assert_close(
        torch.tensor(scores.kernel.values), reference.influence.sum((0, 1)), atol=2e-8, rtol=0
    )
