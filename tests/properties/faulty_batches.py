"""Runs whose announced batches, weights or losses are not what was differentiated, and their healthy counterparts."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from tests.properties.loops import Loop


class Plain(Loop):
    healthy = True


class OrderWithinBatch(Loop):
    """Another order of the samples within a batch changes nothing."""

    healthy = True

    def announce(self, s: int) -> None:
        self.run.batch(self.draw.sample(self.batches[s], len(self.batches[s])))


class WrongBatch(Loop):
    def setup(self) -> None:
        self.until = self.at + self.draw.randint(1, 4)

    def announce(self, s: int) -> None:
        wrong = self.at <= s < self.until
        self.run.batch([(k + 1) % self.samples for k in self.batches[s]] if wrong else self.batches[s])


class OffByOne(Loop):
    """From one update on, the batch that a loader has already fetched is announced instead of the present one."""

    def announce(self, s: int) -> None:
        self.run.batch(self.batches[min(s + (s >= self.at), self.length - 1)])


class MissingBatch(Loop):
    def announce(self, s: int) -> None:
        if s != self.at:
            super().announce(s)


class BatchTwice(Loop):
    def announce(self, s: int) -> None:
        super().announce(s)
        if s == self.at:
            super().announce(s)


class BatchAtTheEnd(Loop):
    """A batch is announced after the last update and never used."""

    def end(self) -> None:
        self.run.batch(self.batches[0])


class ScaledLoss(Loop):
    def setup(self) -> None:
        self.factor = self.draw.choice((0.5, 2.0, -1.0, 1.05))
        self.until = self.at + self.draw.choice((1, 3, 99))

    def objective(self, s: int, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss(outputs, targets) * (self.factor if self.at <= s < self.until else 1.0)


class Penalty(Loop):
    """A penalty in the loss that the loss function lacks."""

    def setup(self) -> None:
        self.power = self.draw.choice((1, 2))
        self.begins = self.draw.choice((0, self.at))

    def objective(self, s: int, outputs: Tensor, targets: Tensor) -> Tensor:
        penalty = sum(p.abs().pow(self.power).sum() for p in self.model.parameters())
        return self.loss(outputs, targets) + (0.05 * penalty if s >= self.begins else 0.0)


class OtherLossMeanwhile(Loop):
    def objective(self, s: int, outputs: Tensor, targets: Tensor) -> Tensor:
        if s == self.at:
            return F.cross_entropy(outputs, targets, label_smoothing=0.2)
        return self.loss(outputs, targets)


class OtherLossAtQuery(Loop):
    def setup(self) -> None:
        options = (
            {"label_smoothing": 0.1},
            {"reduction": "sum"},
            {"weight": torch.tensor([1.0, 2.0, 1.0], dtype=self.dtype)},
        )
        self.options = self.draw.choice(options)

    def asked_loss(self):
        # Losses are evaluated in float64 where the query is.
        options = {k: v.double() if isinstance(v, Tensor) else v for k, v in self.options.items()}
        return lambda outputs, targets: F.cross_entropy(outputs, targets, **options)


class Accumulated(Loop):
    """Two micro-batches per update, announced with their shares."""

    healthy = True

    def gradients(self, s: int) -> None:
        batch = self.batches[s]
        self.parts = [batch[:1], batch[1:]]
        for number, part in enumerate(self.parts):
            share = len(part) / len(batch)
            self.announced(s, number, part, share)
            for _ in range(self.times(s, number)):
                x, y = self.data(part)
                outputs = self.forward(s, x)
                loss = share * self.loss(outputs, y)
                self.tape.backward(outputs, loss, part)
                loss.backward()
            self.between(s, number)

    def announced(self, s: int, number: int, part: list[int], share: float) -> None:
        self.run.batch(part, share)

    def times(self, s: int, number: int) -> int:
        return 1

    def between(self, s: int, number: int) -> None: ...

    def announce(self, s: int) -> None: ...


class DroppedMicroBatch(Accumulated):
    healthy = False

    def times(self, s: int, number: int) -> int:
        return 0 if (s, number) == (self.at, 1) else 1


class DoubledMicroBatch(Accumulated):
    healthy = False

    def times(self, s: int, number: int) -> int:
        return 2 if (s, number) == (self.at, 1) else 1


class WrongWeights(Accumulated):
    healthy = False

    def announced(self, s: int, number: int, part: list[int], share: float) -> None:
        self.run.batch(part, (0.6 if s == self.at else 1.0) * share)


class WeightedSamples(Loop):
    """A weight per sample, and in the faulty variant another one for one update."""

    healthy = True

    def objective(self, s: int, outputs: Tensor, targets: Tensor) -> Tensor:
        self.weights = torch.tensor([self.draw.random() for _ in targets], dtype=self.dtype)
        return (F.cross_entropy(outputs, targets, reduction="none") * self.weights).sum()

    def announce(self, s: int) -> None:
        self.run.batch(self.batches[s], self.weights)


class OtherWeights(WeightedSamples):
    healthy = False

    def announce(self, s: int) -> None:
        self.run.batch(self.batches[s], self.weights.flip(0) if s == self.at else self.weights)


class ClippedBetween(Accumulated):
    """Clipping after the first micro-batch instead of after the last."""

    healthy = False

    def between(self, s: int, number: int) -> None:
        if s == self.at and number == 0:
            before = torch.cat([p.grad.reshape(-1) for p in self.model.parameters()]).norm()
            nn.utils.clip_grad_norm_(self.model.parameters(), 0.3 * float(before))
            self.tape.scaled(0.3)


class BackwardTwice(Loop):
    def gradients(self, s: int) -> None:
        for _ in range(2 if s == self.at else 1):
            super().gradients(s)


class LeftoverGradient(Loop):
    """A backward pass for a validation loss whose gradient is never cleared: it enters through no training sample."""

    def gradients(self, s: int) -> None:
        if s == self.at:
            self.loss(self.model(self.test[0]), self.test[1]).backward()
        super().gradients(s)


class ForgottenZero(Loop):
    def zero(self, s: int) -> None:
        if s != self.at:
            super().zero(s)


class ForgottenZeroAlways(Loop):
    def zero(self, s: int) -> None:
        if s == 0:
            super().zero(s)


class StepTwice(Loop):
    """The optimizer steps twice on one gradient; in half of the cases the batch is announced for both."""

    def setup(self) -> None:
        self.again = self.draw.random() < 0.7

    def after(self, s: int) -> None:
        if s == self.at:
            if self.again:
                self.announce(s)
            self.step(s)


class SkippedStep(Loop):
    """A guard leaves an update out after its batch was announced."""

    def setup(self) -> None:
        self.number = self.draw.choice((1, 2))

    def update(self, s: int) -> None:
        if self.at <= s < self.at + self.number:
            self.zero(s)
            self.gradients(s)
            self.announce(s)
            return
        super().update(s)


class SkippedLastStep(SkippedStep):
    def setup(self) -> None:
        self.at, self.number = self.length - 1, 1


class SkippedBeforeAnnouncing(Loop):
    healthy = True

    def update(self, s: int) -> None:
        if s == self.at:
            self.zero(s)
            self.gradients(s)
            return
        super().update(s)


class Scaler(Loop):
    """Mixed-precision training's gradient scaler, with the scale announced; nothing overflows."""

    healthy = True
    announces_scale = True

    def begin(self) -> None:
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=5)

    def overflows(self, s: int) -> bool:
        return False

    def objective(self, s: int, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = self.loss(outputs, targets) * (float("inf") if self.overflows(s) else 1.0)
        return self.scaler.scale(loss)

    def announce(self, s: int) -> None:
        self.run.batch(self.batches[s], self.scaler.get_scale() if self.announces_scale else None)

    def edit(self, s: int) -> None:
        """Nothing between backward and the scaler's step."""

    def step(self, s: int) -> None:
        self.tape.arm(self.optimizer)
        self.scaler.step(self.optimizer)
        self.scaler.update()


class ScalerClipped(Scaler):
    def edit(self, s: int) -> None:
        self.scaler.unscale_(self.optimizer)
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.5)


class ScalerUnannounced(Scaler):
    """The scaler multiplies and divides; its user announces plain batches."""

    healthy = False
    announces_scale = False


class ScalerOverflow(Scaler):
    healthy = False

    def overflows(self, s: int) -> bool:
        return s == self.at


class ScalerOverflowUnannounced(ScalerOverflow):
    announces_scale = False


class ScalerStart(Scaler):
    """The first updates overflow, as they do with torch's own first scale."""

    def overflows(self, s: int) -> bool:
        return s < 2


class ScalerFused(Scaler):
    """A fused optimizer unscales by itself, inside its step."""

    healthy = False
    choices = ("adamw", "adam")
    dtypes = (torch.float32,)

    def make_optimizer(self) -> Optimizer:
        kind = {"adamw": torch.optim.AdamW, "adam": torch.optim.Adam}[self.chosen]
        return kind(self.model.parameters(), lr=0.01, weight_decay=0.1, fused=True)


class ScalerFusedOverflow(ScalerFused):
    """… and skips by itself: its step is called and does nothing."""

    def overflows(self, s: int) -> bool:
        return s == self.at


class WrongBatchAtRateZero(Loop):
    """The wrong batch is announced where the rate is zero: it acts through the momentum alone."""

    choices = ("momentum", "nesterov", "adamw")

    def zero(self, s: int) -> None:
        group = self.optimizer.param_groups[0]
        if s == self.at:
            self.kept, group["lr"] = group["lr"], 0.0
        if s == self.at + 1:
            group["lr"] = self.kept
        super().zero(s)

    def announce(self, s: int) -> None:
        self.run.batch([(k + 1) % self.samples for k in self.batches[s]] if s == self.at else self.batches[s])


class IgnoredTargets(Loop):
    """Targets that the loss ignores; the mean is over the others."""

    healthy = True

    def setup(self) -> None:
        self.train[1][0] = -100
        self.batches = [batch if 0 not in batch else [*(k for k in batch if k), 0] for batch in self.batches]


KINDS = [
    kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, Loop) and kind is not Loop
]
