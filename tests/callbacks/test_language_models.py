"""Models of transformers as they come: dictionaries, attention masks, padding, ModelOutput, losses of their own."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    GPT2Config,
    GPT2LMHeadModel,
    LlamaConfig,
    LlamaForCausalLM,
)

import explaind
from tests.attribution.test_inputs import BATCHES, TEST, TRAIN, Asks, check, explained
from tests.situations import EXACT, situation

WORDS, LENGTH = 7, 4


def gpt2(p: float = 0.0) -> nn.Module:
    options = {
        "embd_pdrop": p,
        "attn_pdrop": p,
        "resid_pdrop": p,
        "use_cache": False,
        "bos_token_id": 0,
        "eos_token_id": 0,
    }
    return GPT2LMHeadModel(
        GPT2Config(vocab_size=WORDS, n_positions=LENGTH, n_embd=4, n_layer=1, n_head=2, n_inner=6, **options)
    )


def llama() -> nn.Module:
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=WORDS, hidden_size=4, intermediate_size=6, num_hidden_layers=1, num_attention_heads=2,
            num_key_value_heads=1, max_position_embeddings=LENGTH,
        )
    )  # fmt: skip


def bert(p: float = 0.0) -> nn.Module:
    return BertForSequenceClassification(
        BertConfig(
            vocab_size=WORDS, hidden_size=4, num_hidden_layers=1, num_attention_heads=2, intermediate_size=6,
            max_position_embeddings=LENGTH, num_labels=3, hidden_dropout_prob=p, attention_probs_dropout_prob=p,
        )
    )  # fmt: skip


def next_token_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """The sum that the library's causal models divide by the number of labels."""
    logits = logits[:, :-1].float()  # as the library does
    return F.cross_entropy(logits.flatten(0, 1), labels[:, 1:].flatten(), ignore_index=-100, reduction="sum")


def text(count: int, seed: int, causal: bool) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, WORDS, (count, LENGTH), generator=generator)
    mask = (torch.arange(LENGTH) < torch.randint(2, LENGTH + 1, (count, 1), generator=generator)).long()
    labels = (
        torch.where(mask.bool(), ids, -100) if causal else torch.randint(0, 3, (count,), generator=generator)
    )
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def trained(path: Path, model: nn.Module, causal: bool, context: Callable | None = None) -> tuple[Asks, dict]:
    """A loop that leaves the loss to the model."""
    data, test = text(TRAIN, 0, causal), text(TEST, 1, causal)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.005, weight_decay=0.1)
    with explaind.record(path, model, optimizer, chunk_steps=2) as run:
        for index in BATCHES:
            optimizer.zero_grad()
            model(**{name: part[index] for name, part in data.items()}).loss.backward()
            count = int((data["labels"][index][:, 1:] != -100).sum()) if causal else 0
            run.batch(index, 1 / count if causal else None)
            optimizer.step()
    model.eval()
    loss = next_token_loss if causal else F.cross_entropy
    asks = Asks(path, model, loss, _pair(data), _pair(test), BATCHES)
    return asks, data


def _pair(data: dict[str, Tensor]) -> tuple[dict[str, Tensor], Tensor]:
    return {name: part for name, part in data.items() if name != "labels"}, data["labels"]


MODELS = {
    "GPT-2 of transformers, its own loss, padding": (gpt2, True),
    "Llama of transformers, its own loss, padding": (llama, True),
    "BERT of transformers, a class for each sequence": (bert, False),
}


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=situation("Models and losses", name, EXACT)) for name in MODELS]
)
def test_against_the_definition(name: str, tmp_path: Path) -> None:
    make, causal = MODELS[name]
    torch.manual_seed(0)
    run, _ = trained(tmp_path / "run.zarr", make().double(), causal)
    check(run, explained(run), atol=1e-6)  # the loss is computed in float32


@situation("Models and losses", "GPT-2 with dropout, AdamW, float32", EXACT)
def test_dropout(tmp_path: Path) -> None:
    torch.manual_seed(0)
    run, data = trained(tmp_path / "run.zarr", gpt2(0.2), causal=True)
    assert run.trajectory.step(0).batches[0].forward.generator is not None
    for tolerance in (1e-2, 1e-5):
        scores = explained(
            run,
            ("train", "test"),
            train=data,
            target="loss",
            test=run.test,
            tolerance=tolerance,
            max_nodes=81,
        )
        assert scores.attrs["replay_worst"] < 1e-3
        assert float(abs(scores.residual).max()) < 0.05


def test_dropout_of_a_classifier(tmp_path: Path) -> None:
    torch.manual_seed(0)
    run, data = trained(tmp_path / "run.zarr", bert(0.2), causal=False)
    scores = explained(run, ("train", "test"), train=data, tolerance=1e-2, max_nodes=81)
    assert scores.attrs["replay_worst"] < 1e-3
