"""Quadrature: nested midpoints, refinement of those that need it, and a residual that is the exact one."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

import explaind
from explaind.features.quadrature import adaptive, fixed
from explaind.features.quadrature.midpoint import midpoints, refinement
from tests.attribution.tiny import Run, make_data, record_run


class Counted:
    """Integrands f_k(t) for n samples, with a note of who was asked at which node. One integrand, [n, O]."""

    def __init__(self, *functions) -> None:
        self.functions = functions
        self.asked: list[tuple[float, list[int]]] = []

    def __call__(self, t: float, index: Tensor | None) -> list[Tensor]:
        chosen = list(range(len(self.functions))) if index is None else index.tolist()
        self.asked.append((t, chosen))
        return [torch.tensor([[self.functions[k](t)] for k in chosen], dtype=torch.float64)]

    @property
    def spent(self) -> list[int]:
        return [sum(k in chosen for _, chosen in self.asked) for k in range(len(self.functions))]


def first(parts: list[Tensor]) -> Tensor:
    return parts[0]


def column(*values: float) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)[:, None]


@pytest.mark.parametrize("count", [1, 3, 9, 27])
def test_midpoints_nest_under_tripling(count: int) -> None:
    coarse, fine = midpoints(count), midpoints(3 * count)
    new = refinement(count)
    assert len(new) == 2 * count
    torch.testing.assert_close(
        torch.tensor(sorted(coarse + new)).double(), torch.tensor(fine).double(), atol=1e-15, rtol=0
    )


def test_only_the_samples_that_need_it_are_refined_and_nothing_is_computed_twice() -> None:
    constant, parabola, steep = (lambda t: 2.0), (lambda t: t * t), (lambda t: t**12)
    evaluate = Counted(constant, parabola, steep)
    exact = column(2.0, 1 / 3, 1 / 13)
    found = adaptive(evaluate, first, exact, tolerance=2e-3, max_nodes=81, axis=0)
    assert found.nodes.tolist() == [1, 9, 27]  # errors of the midpoint rule: 1/(12 n²) and about 1/(2 n²)
    assert evaluate.spent == [1, 9, 27]
    for k in range(3):
        nodes = [t for t, chosen in evaluate.asked if k in chosen]
        assert len(set(nodes)) == len(nodes)
        torch.testing.assert_close(
            torch.tensor(sorted(nodes)), torch.tensor(midpoints(len(nodes))), atol=1e-7, rtol=0
        )
    assert float(found.residual.abs().max()) <= 2e-3
    torch.testing.assert_close(found.residual, exact - found.parts[0], atol=1e-15, rtol=0)


@pytest.mark.parametrize("power", [0, 1, 2, 3])
def test_adaptive_equals_fixed_where_everyone_refines(power: int) -> None:
    nodes = 3**power
    functions = (lambda t: t * t, lambda t: t**3)
    found = adaptive(Counted(*functions), first, column(9.0, 9.0), tolerance=0, max_nodes=nodes, axis=0)
    plain = fixed(Counted(*functions), first, column(9.0, 9.0), nodes)
    assert found.nodes.tolist() == plain.nodes.tolist() == [nodes, nodes]
    torch.testing.assert_close(found.parts[0], plain.parts[0], atol=1e-15, rtol=0)
    torch.testing.assert_close(found.residual, plain.residual, atol=1e-15, rtol=0)


@pytest.mark.parametrize(("most", "used"), [(1, 1), (2, 1), (3, 3), (80, 27), (81, 81)])
def test_a_sample_stops_at_the_last_power_of_three(most: int, used: int) -> None:
    found = adaptive(Counted(lambda t: t * t), first, column(9.0), tolerance=1e-9, max_nodes=most, axis=0)
    assert found.nodes.tolist() == [used]


def test_not_a_number_is_never_good_enough() -> None:
    evaluate = Counted(lambda t: float("nan"), lambda t: 1.0)
    found = adaptive(evaluate, first, column(1.0, 1.0), tolerance=0.1, max_nodes=9, axis=0)
    assert found.nodes.tolist() == [9, 1]
    assert bool(found.residual[0].isnan())


def test_the_sample_axis_of_the_integrands_may_be_any() -> None:
    """Forward mode's integrands are [terms, n, O]."""

    def evaluate(t: float, index: Tensor | None) -> list[Tensor]:
        value = torch.tensor([t, t**5], dtype=torch.float64)
        value = value if index is None else value[index]
        return [torch.stack([value, 2 * value])[..., None]]

    change = column(3 * 0.5, 3 / 6)
    found = adaptive(evaluate, lambda p: p[0].sum(0), change, tolerance=1e-3, max_nodes=81, axis=1)
    assert found.nodes.tolist() == [1, 27]
    torch.testing.assert_close(found.parts[0].sum(0), change, atol=1e-3, rtol=0)


OPTIONS = [{"nodes": 1}, {"nodes": 3}, {"tolerance": 1e-4, "max_nodes": 3}, {"tolerance": 1e-6}]


@pytest.fixture(scope="module", params=["tanh", "relu"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    torch.manual_seed(1)
    bend = nn.ReLU() if request.param == "relu" else nn.Tanh()
    model = nn.Sequential(nn.Linear(3, 16), bend, nn.Linear(16, 3))
    make = lambda m: torch.optim.AdamW(m.parameters(), lr=0.05)  # noqa: E731
    return record_run(tmp_path_factory.mktemp("quadrature") / "run.zarr", make, model=model, steps=3)


@pytest.mark.parametrize("options", OPTIONS)
def test_the_residual_is_the_exact_one(run: Run, options: dict) -> None:
    """With any number of nodes, kinks or none: change of f between two recorded θ's − what is explained."""
    keep = ("step", "test", "output")
    scores = explaind.influence(run.path, run.model, test=run.test[0], keep=keep, **options)
    values = []
    for s in range(4):
        theta = run.trajectory.layout.unflatten(run.trajectory.parameters(s))
        values.append(torch.func.functional_call(run.model, theta, (run.test[0],)).detach())
    change = torch.stack(values).diff(dim=0).numpy()
    residual = change - scores.kernel.values - scores.regularization.values
    assert abs(residual - scores.residual.values).max() < 1e-14
    assert abs(abs(residual).max((1, 2)) - scores.quadrature_error.values).max() < 1e-14


def test_more_nodes_shrink_the_residual_and_refined_samples_reach_the_tolerance(run: Run) -> None:
    keep = ("step", "test", "output")
    worst = [
        float(
            abs(explaind.influence(run.path, run.model, test=run.test[0], keep=keep, nodes=n).residual).max()
        )
        for n in (1, 81)
    ]
    # |error| ~ 1/n² where f is smooth and 1/n across a kink; a factor of 9 leaves room for a lucky midpoint
    assert worst[0] > 9 * worst[1] > 0
    found = explaind.influence(
        run.path, run.model, test=run.test[0], keep=keep, tolerance=5e-4, max_nodes=2187
    )
    assert float(abs(found.residual).max()) <= 5e-4
    assert 1 <= found.attrs["nodes_mean"] < 100


def test_mean_nodes_do_not_depend_on_how_the_tests_are_cut(run: Run) -> None:
    from dataclasses import replace

    from explaind.attribution.answer import answer
    from explaind.attribution.plan import make_plan
    from explaind.attribution.problem import make_problem
    from explaind.attribution.query import Query

    for keep in (("layer", "test", "output"), ("layer", "test")):
        query = Query(keep, tolerance=1e-4)
        problem = make_problem(run.path, run.model, run.loss, query, test=make_data(3)[0])
        plan = make_plan(problem, timed=False)
        whole = answer(problem, replace(plan, block=7))
        for block in (2, 6):
            cut = answer(problem, replace(plan, block=block))
            torch.testing.assert_close(torch.tensor(cut.nodes.values), torch.tensor(whole.nodes.values))
