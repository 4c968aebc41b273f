"""The modulo-addition experiment: its data, its 89,024 parameters, and its fast model against the literal definition."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from torch.func import functional_call, grad, jvp, vmap

from explaind.errors import ConfigError
from explaind.experiments.build import load, make_optimizer
from explaind.experiments.grokking.data import all_pairs, cycle, split_pairs
from explaind.experiments.grokking.model import LAYERS, ModuloTransformer
from explaind.experiments.likelihood import negative_log_likelihood

_spec = importlib.util.spec_from_file_location("literal", Path(__file__).with_name("literal_transformer.py"))
literal = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(literal)

PAPER = {
    "name": "grokking",
    "data": {"operation": "addition", "modulus": 113, "train": 4000, "test": 2000},
    "model": {"d_model": 64, "heads": 4, "hidden": 512},
    "optimizer": {"name": "AdamW", "lr": 1e-3, "weight_decay": 4.0, "betas": [0.9, 0.98], "eps": 1e-8},
}


@pytest.fixture(scope="module")
def paper():
    return load(PAPER, seed=3)


@pytest.fixture
def small():
    torch.manual_seed(0)
    return ModuloTransformer(tokens=9, width=8, heads=2, hidden=12).double()


def test_paper_size_and_groups(paper):
    sizes = {name: p.numel() for name, p in paper.model.named_parameters()}
    assert sum(sizes.values()) == 89_024
    assert tuple(paper.groups) == LAYERS
    assert [n for names in paper.groups.values() for n in names] == list(sizes), (
        "every parameter is in one layer"
    )
    layer = {k: sum(sizes[n] for n in names) for k, names in paper.groups.items()}
    assert layer == {
        "embedding": 7360,
        "att. encoder": 4096,
        "att. decoder": 4096,
        "linear 1": 33280,
        "linear 2": 32832,
        "decoder": 7360,
    }
    assert paper.classes == 115


def test_all_pairs_count_symmetric_pairs_once():
    pairs = all_pairs(113)
    a, b = pairs.tokens[:, 0], pairs.tokens[:, 2]
    assert len(a) == 6441 and bool((a >= b).all())
    assert len(torch.unique(a * 113 + b)) == 6441
    assert bool((pairs.tokens[:, 1] == 113).all() and (pairs.tokens[:, 3] == 114).all())
    assert torch.equal(pairs.labels, (a + b) % 113) and torch.equal(pairs.sums, a + b)


def test_split_is_disjoint_and_seeded(paper):
    train, test = paper.train[0], paper.test[0]
    assert train.shape == (4000, 4) and test.shape == (2000, 4)
    identity = torch.cat([train, test]) @ torch.tensor([113, 0, 1, 0])
    assert len(torch.unique(identity)) == 6000
    assert torch.equal(split_pairs(113, 4000, 2000, 3)[0].tokens, train)
    assert not torch.equal(split_pairs(113, 4000, 2000, 4)[0].tokens, train)
    assert torch.equal(paper.train_key % 113, paper.train[1]) and torch.equal(
        paper.test_key % 113, paper.test[1]
    )


def test_one_seed_fixes_everything_and_leaves_the_global_state(paper):
    torch.manual_seed(99)
    expected = torch.rand(3)
    torch.manual_seed(99)
    again = load({**PAPER, "seed": 3})
    assert torch.equal(torch.rand(3), expected)
    for (name, p), q in zip(again.model.named_parameters(), paper.model.parameters(), strict=True):
        assert torch.equal(p, q), name
    other = load(PAPER, seed=4)
    assert not torch.equal(other.model.decoder.weight, paper.model.decoder.weight)


def test_initialisation_is_pytorch_default(paper):
    embedding = paper.model.embedding.weight.detach()
    assert abs(float(embedding.std()) - 1) < 0.03 and abs(float(embedding.mean())) < 0.05
    for name, p in paper.model.named_parameters():
        if name.startswith(("encoders", "linear", "decoder")) and not name.startswith("decoders"):
            fan_in = p.shape[-1] if p.dim() == 2 else {"linear1.bias": 64, "linear2.bias": 512}[name]
            largest = float(p.detach().abs().max()) * fan_in**0.5
            assert 0.95 < largest <= 1, f"{name}: {largest}"


def test_forward_and_gradients_equal_the_literal_definition(small):
    tokens = torch.randint(0, 9, (17, 4))
    targets = torch.randint(0, 9, (17,))
    fast = small(tokens)
    parameters = dict(small.named_parameters())
    slow = literal.literal_forward(parameters, tokens, heads=2)
    torch.testing.assert_close(fast, slow, rtol=0, atol=1e-12)
    torch.testing.assert_close(fast.exp().sum(-1), torch.ones(17, dtype=torch.float64))
    ours = torch.autograd.grad(negative_log_likelihood(fast, targets), list(parameters.values()))
    theirs = torch.autograd.grad(torch.nn.functional.nll_loss(slow, targets), list(parameters.values()))
    for name, a, b in zip(parameters, ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12, msg=name)


def test_forward_mode_under_vmap_equals_backward_mode(small):
    tokens = torch.randint(0, 9, (5, 4))
    parameters = {k: v.detach() for k, v in small.named_parameters()}
    tangents = {k: torch.randn(3, *v.shape, dtype=v.dtype) for k, v in parameters.items()}

    def forward(p):
        return functional_call(small, p, (tokens,))

    forward_mode = vmap(lambda t: jvp(forward, (parameters,), (t,))[1])(tangents)  # [3, 5, 9]
    jacobian = torch.func.jacrev(forward)(parameters)
    expected = sum(torch.einsum("no...,t...->tno", jacobian[k], tangents[k]) for k in parameters)
    torch.testing.assert_close(forward_mode, expected, rtol=0, atol=1e-11)


def test_per_sample_gradients_average_to_the_batch_gradient(small):
    tokens, targets = torch.randint(0, 9, (6, 4)), torch.randint(0, 9, (6,))
    parameters = {k: v.detach() for k, v in small.named_parameters()}

    def loss(p, x, y):
        return negative_log_likelihood(functional_call(small, p, (x[None],)), y[None])

    each = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, tokens, targets)
    whole = grad(lambda p: negative_log_likelihood(functional_call(small, p, (tokens,)), targets))(parameters)
    for name in parameters:
        torch.testing.assert_close(each[name].mean(0), whole[name], rtol=0, atol=1e-12, msg=name)


def test_optimizer_is_configured(paper):
    optimizer = make_optimizer(PAPER, paper.model)
    assert type(optimizer) is torch.optim.AdamW
    group = optimizer.param_groups[0]
    assert (group["lr"], group["weight_decay"], group["betas"], group["eps"]) == (
        1e-3,
        4.0,
        (0.9, 0.98),
        1e-8,
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: load({**PAPER, "name": "nothing"}, seed=0), "no experiment called 'nothing'"),
        (lambda: load(PAPER), "needs a seed"),
        (lambda: split_pairs(5, 14, 2, 0), "does not have enough pairs"),
        (lambda: ModuloTransformer(tokens=5, width=6, heads=4, hidden=2), "sizes are not usable"),
        (
            lambda: make_optimizer({"optimizer": {"name": "Adagrad"}}, torch.nn.Linear(1, 1)),
            "can be explained",
        ),
        (
            lambda: make_optimizer({"optimizer": {"name": "SGD", "eps": 1}}, torch.nn.Linear(1, 1)),
            "does not accept",
        ),
    ],
)
def test_errors_are_sentences(call, words):
    with pytest.raises(ConfigError, match=words) as error:
        call()
    assert "Remedy:" in str(error.value)


def test_products_are_sums_of_positions_on_their_cycle():
    pairs, order = all_pairs(113, "multiplication"), cycle(113, "multiplication")
    assert len(pairs.labels) == 112 * 113 // 2 and sorted(order.tolist()) == list(range(1, 113))
    position = {int(number): place for place, number in enumerate(order)}
    for tokens, label, total in zip(*(part.tolist() for part in pairs), strict=True):
        a, sign, b, equals = tokens
        assert (sign, equals) == (113, 114) and a >= b >= 1 and label == a * b % 113
        assert total == position[a] + position[b] and total % 112 == position[label]
    with pytest.raises(ConfigError, match="not one cycle"):
        cycle(12, "multiplication")


def test_the_model_cannot_tell_a_from_b():
    """So the operation must be commutative: subtraction and division are out of this model's reach."""
    torch.manual_seed(0)
    model = ModuloTransformer(tokens=9, width=8, heads=2, hidden=16).double()
    tokens = torch.tensor([[5, 7, 2, 8]])
    torch.testing.assert_close(model(tokens), model(tokens[:, [2, 1, 0, 3]]), rtol=0, atol=1e-12)
