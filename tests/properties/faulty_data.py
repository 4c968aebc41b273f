"""Training samples that change between the recording and the question."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset

import explaind
from tests.properties.loops import Loop


class FeatureChanged(Loop):
    bags = False

    def setup(self) -> None:
        self.which = self.draw.randrange(self.samples)

    def asked_train(self) -> Any:
        x, y = self.train[0].clone(), self.train[1]
        x[self.which, 0] += 1.0
        return x, y


class RareSampleChanged(FeatureChanged):
    """The changed sample occurs in one batch alone."""

    def setup(self) -> None:
        self.which = self.samples - 1
        for s, batch in enumerate(self.batches):
            kept = [k for k in batch if k != self.which] or [0]
            self.batches[s] = kept + [self.which] if s == self.at else kept


class LabelsFlipped(Loop):
    def setup(self) -> None:
        self.which = self.draw.sample(range(self.samples), self.draw.choice((1, 1, 3)))

    def asked_train(self) -> Any:
        y = self.train[1].clone()
        y[self.which] = (y[self.which] + 1) % 3
        return self.train[0], y


class Permuted(Loop):
    def asked_train(self) -> Any:
        order = self.draw.sample(range(self.samples), self.samples)
        return self.train[0][order], self.train[1][order]


class TwoSwapped(Loop):
    """Two samples changed places."""

    def setup(self) -> None:
        self.pair = self.draw.sample(range(self.samples), 2)

    def asked_train(self) -> Any:
        order = list(range(self.samples))
        a, b = self.pair
        order[a], order[b] = b, a
        return self.train[0][order], self.train[1][order]


class Appended(Loop):
    """A further sample at the end, which no batch names: it has no influence."""

    healthy = True

    def asked_train(self) -> Any:
        return tuple(torch.cat([part, part[:1]]) for part in self.train)


class UnusedChanged(Loop):
    """The changed sample occurs in no batch."""

    healthy = True

    def setup(self) -> None:
        self.batches = [[k for k in batch if k != 0] or [1] for batch in self.batches]

    def asked_train(self) -> Any:
        y = self.train[1].clone()
        y[0] = (y[0] + 1) % 3
        return self.train[0], y


class Truncated(Loop):
    def asked_train(self) -> Any:
        return tuple(part[:-1] for part in self.train)


class Rescaled(Loop):
    """Inputs that are normalised in another way."""

    bags = False

    def asked_train(self) -> Any:
        x, y = self.train
        return (x - x.mean(0)) / x.std(0), y


class Augmented(Loop):
    """Training sees noisy inputs, in some updates or in all, which nobody tells."""

    bags = False

    def setup(self) -> None:
        self.always = self.draw.random() < 0.5
        self.count = 0

    def data(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        x, y = super().data(indices)
        self.count += 1
        if self.always or self.count == self.at:
            x = x + 0.3 * torch.randn_like(x)
        return x, y


class RandomDataset(Loop):
    """A Dataset whose items are drawn anew every time."""

    bags = False

    def asked_train(self) -> Any:
        x, y = self.train

        class Items(Dataset):
            def __len__(self) -> int:
                return len(x)

            def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
                return x[index] + 0.1 * torch.randn_like(x[index]), y[index]

        return Items()


class Viewed(Loop):
    """Training sees mirrored samples, and their views are announced."""

    healthy = True
    bags = False

    def data(self, indices: list[int]) -> tuple[Tensor, Tensor]:
        x, y = super().data(indices)
        self.views = torch.tensor([self.draw.randrange(2) for _ in indices])
        return self.mirrored(x, self.views), y

    @staticmethod
    def mirrored(inputs: Tensor, views: Tensor) -> Tensor:
        return torch.where(views.bool()[:, None], inputs.flip(-1), inputs)

    def announce(self, s: int) -> None:
        self.run.batch(self.batches[s], views=self.views)

    def asked_train(self) -> Any:
        return explaind.Augmented(self.train, self.mirrored)


class WrongViews(Viewed):
    healthy = False

    def announce(self, s: int) -> None:
        self.run.batch(self.batches[s], views=1 - self.views if s == self.at else self.views)


class MixedViews(Viewed):
    """The function that makes the views mixes the samples, which the run did not."""

    healthy = False

    def asked_train(self) -> Any:
        return explaind.Augmented(self.train, lambda x, views: self.mirrored(x, views) + 0.01 * x.mean(0))


KINDS = [
    kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, Loop) and kind is not Loop
]
