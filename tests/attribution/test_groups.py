"""Parameter groups: a partition from layers to single parameters and parts of tensors, or a refusal."""

from __future__ import annotations

import pytest
import torch

import explaind
from explaind.errors import QueryError
from explaind.features.groups import make_partition
from explaind.recording.layout import Layout
from tests.attribution.tiny import Run, record_run

NAMES = ("a.w", "a.b", "b.0.w", "b.1.w", "scale")
SHAPES = ((2, 3), (2,), (2, 2), (1,), ())
LAYOUT = Layout(NAMES, SHAPES, (0,) * 5, torch.float64)
SIZES = (6, 2, 4, 1, 1)


def labels(*per_tensor: int) -> list[int]:
    return [group for group, size in zip(per_tensor, SIZES, strict=True) for _ in range(size)]


def test_layers_are_the_parameters_of_one_module() -> None:
    partition = make_partition(LAYOUT, None)
    assert partition.names == ("a", "b.0", "b.1", "scale")
    assert partition.label.tolist() == labels(0, 0, 1, 2, 3)
    assert partition.tensors(0) == ("a.w", "a.b")


def test_all() -> None:
    partition = make_partition(LAYOUT, "all")
    assert partition.names == ("all",)
    assert partition.label.tolist() == [0] * 14
    assert partition.index(0) == slice(0, 14)


def test_single_parameters() -> None:
    partition = make_partition(LAYOUT, "parameter")
    assert partition.single
    assert len(partition) == 14
    assert partition.index(3) == slice(3, 4)


def test_patterns_and_a_name_by_itself() -> None:
    partition = make_partition(LAYOUT, {"blocks": "b.*", "rest": ["a.?", "scale"]})
    assert partition.names == ("blocks", "rest")
    assert partition.label.tolist() == labels(1, 1, 0, 0, 1)
    where = partition.index(1)  # not contiguous
    assert where.tolist() == [*range(8), 13]
    assert partition.index(0) == slice(8, 13)


def test_masks_of_parts_of_a_tensor() -> None:
    head = torch.tensor([[True, False, True], [False, False, True]])
    partition = make_partition(
        LAYOUT, {"head": {"a.w": head}, "rest": {"a.w": ~head, "*.b": torch.tensor([True, True]),
                 "b.0.w": torch.ones(2, 2, dtype=torch.bool), "b.1.w": torch.tensor([True]),
                 "scale": torch.tensor(True)}},
    )  # fmt: skip
    assert partition.label[:6].tolist() == [0, 1, 0, 1, 1, 0]
    assert partition.label[6:].tolist() == [1] * 8
    assert partition.tensors(0) == ("a.w",)
    assert "a.w" in partition.tensors(1)


REFUSED = {
    "overlap": ({"one": ["a.*"], "two": ["a.b", "b.*", "scale"]}, "'a.b' is in the group 'two' and in 'one'"),
    "gap": ({"one": ["a.*", "b.0.w"]}, "no group for b.1.w, scale"),
    "unknown parameter": ({"one": ["*"], "two": ["c.w"]}, "not recorded"),
    "no group at all": ({}, "do not cover"),
    "empty list": ({"one": ["*"], "two": []}, "'two' is empty"),
    "empty mask": ({"one": {"a.w": torch.zeros(2, 3, dtype=torch.bool)}}, "'one' is empty"),
    "mask of another shape": ({"one": {"a.w": torch.ones(3, 2, dtype=torch.bool)}}, "shape (2, 3)"),
    "mask of another dtype": ({"one": {"a.w": torch.ones(2, 3)}}, "boolean"),
    "a list of names": (["a.w"], "not understood"),
    "an unknown word": ("layer", "not understood"),
    "overlapping masks": (
        {"one": ["a.w"], "two": {"a.w": torch.eye(2, 3).bool()}}, "'a.w' is in the group 'two' and in 'one'"
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_refused(case: str) -> None:
    groups, words = REFUSED[case]
    with pytest.raises(QueryError) as caught:
        make_partition(LAYOUT, groups)
    assert words in str(caught.value)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    make = lambda m: torch.optim.AdamW(m.parameters(), lr=0.02, weight_decay=0.5)  # noqa: E731
    return record_run(tmp_path_factory.mktemp("groups") / "run.zarr", make, steps=2)


@pytest.mark.parametrize(
    "keep", [("layer", "test", "output"), ("layer",), ("layer", "train", "test", "output")]
)
def test_neurons_of_one_tensor_by_forward_reverse_and_contraction(run: Run, keep: tuple[str, ...]) -> None:
    """Groups that cut a tensor get the influence of exactly their entries."""
    neuron = torch.zeros(4, 3, dtype=torch.bool)
    neuron[1] = True
    bias = torch.tensor([False, True, False, False])
    groups = {
        "neuron 1": {"first.weight": neuron, "first.bias": bias},
        "others": {"first.weight": ~neuron, "first.bias": ~bias},
        "second": {
            "second.weight": torch.ones(3, 4, dtype=torch.bool),
            "second.bias": torch.ones(3, dtype=torch.bool),
        },
    }
    options = {
        "train": run.train,
        "test": run.test[0],
        "tolerance": 1e-10,
        "max_nodes": 81,
        "tail_tolerance": 0,
    }
    scores = explaind.influence(run.path, run.model, run.loss, keep=keep, groups=groups, **options)
    reference = run.reference(nodes=12).influence.sum(0)  # [D, N, X, O]
    inside = torch.cat([neuron.flatten(), bias, torch.zeros(15, dtype=torch.bool)])
    drop = [axis for axis, name in enumerate(("train", "test", "output")) if name not in keep]
    for name, mask in (("neuron 1", inside), ("second", torch.arange(31) >= 16)):
        expected = reference[mask].sum(0)
        expected = expected.sum(drop) if drop else expected
        got = torch.tensor(scores.kernel.sel(layer=name).values)
        torch.testing.assert_close(got, expected, atol=2e-8, rtol=0)


def test_parameter_and_train_together(run: Run) -> None:
    """The whole tensor of influences, summed over steps: the contraction resolves single parameters too."""
    scores = explaind.influence(
        run.path, run.model, run.loss, train=run.train, test=run.test[0],
        keep=("parameter", "train", "test", "output"), tolerance=1e-10, max_nodes=81, tail_tolerance=0,
    )  # fmt: skip
    expected = run.reference(nodes=12).influence.sum(0)
    torch.testing.assert_close(torch.tensor(scores.kernel.values), expected, atol=1e-8, rtol=0)


def test_a_linear_layers_bias_apart_from_its_weight(run: Run) -> None:
    """The bias moves every sample alike: its product comes without a sample axis, and refinement writes to it."""
    groups = {name: [name] for name, _ in run.model.named_parameters()}
    scores = explaind.influence(
        run.path,
        run.model,
        run.loss,
        test=run.test[0],
        keep=("layer", "test", "output"),
        groups=groups,
        nodes=3,
    )
    bias = scores.kernel.sel(layer="second.bias").values
    assert abs(bias - bias[:1]).max() == 0.0
    assert abs(bias).max() > 0
