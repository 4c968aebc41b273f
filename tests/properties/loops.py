"""A training loop as a user writes it, recorded and taped, with every part of an update open to a fault."""

from __future__ import annotations

import copy
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import SGD, Adam, AdamW, Optimizer

import explaind
from tests.properties.truth import Tape, Truth, write_out

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "adamw": lambda p: AdamW(p, lr=0.01, weight_decay=0.3),
    "adam": lambda p: Adam(p, lr=0.01, weight_decay=0.1),
    "sgd": lambda p: SGD(p, lr=0.08, weight_decay=0.05),
    "momentum": lambda p: SGD(p, lr=0.03, momentum=0.8, weight_decay=0.05),
    "nesterov": lambda p: SGD(p, lr=0.03, momentum=0.7, nesterov=True, weight_decay=0.02),
}
MOMENTUM = ("adamw", "adam", "momentum", "nesterov")
TESTS = 3


class Perceptron(nn.Module):
    """Two linear maps around a non-linearity."""

    def __init__(self, bend: Callable[[Tensor], Tensor] = torch.tanh) -> None:
        super().__init__()
        self.hidden, self.readout = nn.Linear(3, 4), nn.Linear(4, 3)
        self.bend = bend

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.bend(self.hidden(x)))


class Bag(nn.Module):
    """The mean of three embeddings, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.readout = nn.Embedding(5, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(torch.tanh(self.embed(x).mean(1)))


class Loop:
    """A healthy run. A fault is a subclass that changes one of the parts.

    Attributes:
        choices: names of the optimizers it is drawn from.
        dtypes: the same for the precision.
        healthy: must the answer be given, and right?
    """

    choices: tuple[str, ...] = tuple(OPTIMIZERS)
    dtypes: tuple[torch.dtype, ...] = (torch.float64, torch.float64, torch.float64, torch.float32)
    healthy = False
    bags = True
    bent = False  # is a large residual what an honest answer must show?

    def __init__(self, seed: int) -> None:
        self.draw = random.Random(f"{type(self).__name__}-{seed}")
        draw = self.draw
        self.seed = seed
        self.length = draw.randint(11, 18)
        self.samples = draw.randint(6, 10)
        self.chosen = draw.choice(self.choices)
        self.dtype = draw.choice(self.dtypes)
        self.tokens = self.bags and draw.random() < 0.25
        self.batches = [draw.sample(range(self.samples), draw.randint(2, 4)) for _ in range(self.length)]
        self.at = draw.randint(1, self.length - 2)  # the update where something goes wrong
        self.chunk_steps = draw.choice((4, 16))
        generator = torch.Generator().manual_seed(1000 + seed)
        shape = (self.samples + TESTS, 3)
        if self.tokens:
            x = torch.randint(5, shape, generator=generator)
        else:
            x = torch.randn(shape, generator=generator, dtype=torch.float64).to(self.dtype)
        y = torch.randint(3, (len(x),), generator=generator)
        self.train = (x[: self.samples], y[: self.samples])
        self.test = (x[self.samples :], y[self.samples :])
        torch.manual_seed(seed)
        self.model = self.make_model().to(self.dtype)
        self.optimizer = self.make_optimizer()
        self.setup()

    # what a fault may replace

    def make_model(self) -> nn.Module:
        return Bag() if self.tokens else Perceptron()

    def make_optimizer(self) -> Optimizer:
        return OPTIMIZERS[self.chosen](self.model.parameters())

    def setup(self) -> None:
        """Draw what the fault needs."""

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """The loss that training differentiates."""
        return F.cross_entropy(outputs, targets)

    def objective(self, s: int, outputs: Tensor, targets: Tensor) -> Tensor:
        """What update s differentiates."""
        return self.loss(outputs, targets)

    def data(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        return self.train[0][indices], self.train[1][indices]

    def forward(self, s: int, x: Tensor) -> Tensor:
        return self.model(x)

    def begin(self) -> None: ...

    def zero(self, s: int) -> None:
        self.optimizer.zero_grad()
        self.tape.cleared()

    def gradients(self, s: int) -> None:
        """Forward and backward of update s."""
        x, y = self.data(self.batches[s])
        outputs = self.forward(s, x)
        loss = self.objective(s, outputs, y)
        self.tape.backward(outputs, loss, self.batches[s])
        loss.backward()

    def announce(self, s: int) -> None:
        self.run.batch(self.batches[s])

    def edit(self, s: int) -> None:
        """Between backward and step."""

    def step(self, s: int) -> None:
        self.tape.arm(self.optimizer)
        self.optimizer.step()

    def after(self, s: int) -> None: ...

    def end(self) -> None: ...

    def update(self, s: int) -> None:
        self.zero(s)
        self.gradients(s)
        self.announce(s)
        self.edit(s)
        self.step(s)
        self.after(s)

    # how it is run, and what is asked afterwards

    def go(self, path: Path) -> None:
        """Train and record; an explaind error may come from anywhere in here."""
        self.tape = Tape(self.model, self.samples)
        with explaind.record(path, self.model, self.optimizer, chunk_steps=self.chunk_steps) as self.run:
            self.begin()
            for s in range(self.length):
                self.update(s)
            self.end()
        self.tape.finish()

    def asked_model(self) -> nn.Module:
        """The model as it is given to a query."""
        return self.model

    def asked_loss(self) -> Callable[[Tensor, Tensor], Tensor]:
        return self.loss

    def asked_train(self) -> Any:
        return self.train

    def value_at(self, theta: dict[str, Tensor], x: Tensor) -> Tensor:
        """f of one test sample alone, [1, O], differentiated as it should be."""
        return torch.func.functional_call(self.true_model, theta, (x,))

    def truth_model(self) -> nn.Module:
        """The live model after training, or one with the same values and the right derivatives."""
        return self.model

    def truth(self) -> Truth:
        self.true_model = copy.deepcopy(self.truth_model()).double().eval()
        x = self.test[0] if self.tokens else self.test[0].double()

        def value(theta: dict[str, Tensor]) -> Tensor:
            return torch.cat([self.value_at(theta, x[i : i + 1]) for i in range(TESTS)])

        return write_out(self.tape, value)

    def queries(self) -> list[dict[str, Any]]:
        """Some questions, drawn; `train` says whether training samples and loss are given."""
        start = self.draw.randint(0, self.length - 4)
        window = slice(start, self.draw.randint(start + 2, self.length))
        summed = [
            {"keep": ("step", "layer", "test", "output"), "train": True},
            {"keep": ("layer",), "importance": ("test", "output"), "train": True},
            {"keep": ("step", "layer", "test"), "train": False},
            {"keep": ("step", "test"), "train": True, "steps": window},
        ]
        kept = [
            {"keep": ("train", "test", "output"), "train": True},
            {"keep": ("train", "test"), "train": True, "steps": window},
            {"keep": ("layer", "train"), "importance": ("test", "output"), "train": True},
            {"keep": ("step", "train", "test"), "train": True},
        ]
        return [self.draw.choice(summed), self.draw.choice(kept)]
