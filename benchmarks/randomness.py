"""What it costs to replay dropout and autocast: the same Transformer recorded and explained with and without, in turns."""

from __future__ import annotations

import statistics
from contextlib import nullcontext
from pathlib import Path

import torch
from torch import Tensor, nn

import explaind
from benchmarks.setting import SEED, show, timed

LENGTH, TOKENS, WIDTH, HIDDEN, HEADS, LAYERS = 16, 64, 64, 256, 4, 2
KINDS = {
    "plain": (0.0, False),
    "dropout 0.1": (0.1, False),
    "bfloat16 autocast": (0.0, True),
    "both": (0.1, True),
}


class Classifier(nn.Module):
    """Tokens [n, T] → logits [n, V], through torch's own encoder layers."""

    def __init__(self, dropout: float) -> None:
        super().__init__()
        self.embedding = nn.Embedding(TOKENS, WIDTH)
        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, HIDDEN, dropout, batch_first=True)
        self.encoder = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False)
        self.readout = nn.Linear(WIDTH, TOKENS)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits of the mean over positions."""
        return self.readout(self.encoder(self.embedding(tokens)).mean(1))


def run(folder: Path, *, steps: int = 12, batch: int = 128, tests: int = 8, rounds: int = 3) -> None:
    """Every sample's influence on a few tests, its seconds by kind of training, as ratios to the plain one."""
    generator = torch.Generator().manual_seed(SEED)
    inputs = torch.randint(TOKENS, (batch + tests, LENGTH), generator=generator)
    targets = inputs[:, 0]
    train, test = (inputs[:batch], targets[:batch]), (inputs[batch:], targets[batch:])
    loss = nn.CrossEntropyLoss()
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    for number in range(rounds + 1):  # the first round warms up
        for kind, (dropout, autocast) in KINDS.items():
            torch.manual_seed(SEED)
            model = Classifier(dropout)
            optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
            path = folder / f"{kind}-{number}.zarr"
            with explaind.record(path, model, optimizer) as run:
                for _ in range(steps):
                    optimizer.zero_grad()
                    run.batch(range(batch))
                    with torch.autocast("cpu", torch.bfloat16) if autocast else nullcontext():
                        value = loss(model(train[0]), train[1])
                    value.backward()
                    optimizer.step()
            _, taken = timed(
                lambda p=path, m=model: explaind.influence(
                    p, m, loss, train=train, test=test, keep=("train", "test"), target="margin"
                )
            )
            if number:
                seconds[kind].append(taken)
    plain = seconds["plain"]
    rows = [
        (kind, statistics.median(each), statistics.median(a / b for a, b in zip(each, plain, strict=True)))
        for kind, each in seconds.items()
    ]
    show(
        f"replaying randomness and half precision, {steps} updates of {batch}: at most 1.3 × the same without",
        ("training", "influence, s", "ratio"),
        rows,
    )
