"""Runs whose optimizer, its memory, its options or the parameters change behind the recording's back."""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from torch import nn
from torch.optim import SGD

import explaind
from tests.properties.loops import MOMENTUM, OPTIMIZERS, Loop
from tests.properties.truth import Tape

ADAM = ("adam", "adamw")


class Remembering(Loop):
    """The optimizer's memory is changed before one update."""

    choices = MOMENTUM

    def zero(self, s: int) -> None:
        if s == self.at:
            self.change()
        super().zero(s)

    def change(self) -> None: ...

    def buffers(self) -> list[torch.Tensor]:
        key = "momentum_buffer" if isinstance(self.optimizer, SGD) else "exp_avg"
        return [state[key] for state in self.optimizer.state.values()]


class StateCleared(Remembering):
    def change(self) -> None:
        self.optimizer.state.clear()


class OneStateCleared(Remembering):
    def change(self) -> None:
        del self.optimizer.state[self.draw.choice(list(self.model.parameters()))]


class BufferZeroed(Remembering):
    def change(self) -> None:
        for buffer in self.buffers():
            buffer.zero_()


class BufferScaled(Remembering):
    def change(self) -> None:
        for buffer in self.buffers():
            buffer.mul_(0.5)


class BufferReplaced(Remembering):
    def change(self) -> None:
        for buffer in self.buffers():
            buffer.copy_(torch.randn_like(buffer) * buffer.norm())


class SecondMomentScaled(Remembering):
    """The preconditioner is taken as observed, so this one may be answered."""

    choices = ADAM

    def change(self) -> None:
        for state in self.optimizer.state.values():
            state["exp_avg_sq"].mul_(3.0)


class CounterSetBack(Remembering):
    choices = ADAM

    def change(self) -> None:
        to = self.draw.choice((0, 1, self.at + 3))
        for state in self.optimizer.state.values():
            state["step"].fill_(to)


class LoadedState(Remembering):
    """The state of an earlier moment is loaded into the optimizer."""

    def setup(self) -> None:
        self.at = max(self.at, 3)
        self.kept = None

    def zero(self, s: int) -> None:
        if s == self.at // 2:
            self.kept = copy.deepcopy(self.optimizer.state_dict())
        super().zero(s)

    def change(self) -> None:
        self.optimizer.load_state_dict(self.kept)


class LostOptimizer(Loop):
    """The optimizer is made again inside the block."""

    def setup(self) -> None:
        self.when = self.draw.choice((0, self.at))

    def zero(self, s: int) -> None:
        if s == self.when:
            self.optimizer = self.make_optimizer()
        super().zero(s)


class LostForAWhile(Loop):
    """Some updates in the middle are made by another optimizer of the same kind."""

    def setup(self) -> None:
        self.until = min(self.at + self.draw.randint(1, 3), self.length - 1)
        self.first = self.optimizer

    def zero(self, s: int) -> None:
        if s == self.at:
            self.optimizer = self.make_optimizer()
        if s == self.until:
            self.optimizer = self.first
        super().zero(s)


class OtherObject(Loop):
    """The recorder watches an optimizer that never steps."""

    def go(self, path: Path) -> None:
        used = self.optimizer
        self.optimizer = self.make_optimizer()
        self.used = used
        super().go(path)

    def begin(self) -> None:
        self.optimizer = self.used


class SecondOptimizer(Loop):
    """Another optimizer moves the same parameters as well, at one update or at the last."""

    def setup(self) -> None:
        self.at = self.draw.choice((self.at, self.length - 1))
        self.second = SGD(self.model.parameters(), lr=0.05)

    def after(self, s: int) -> None:
        if s == self.at:
            self.tape.arm(self.second)
            self.second.step()


class SecondOptimizerFirst(SecondOptimizer):
    """The other optimizer steps between backward and the recorded step."""

    def edit(self, s: int) -> None:
        super().after(s)

    def after(self, s: int) -> None: ...


class EditedBetween(Loop):
    def setup(self) -> None:
        self.how = self.draw.choice(("mul", "clamp", "one"))

    def after(self, s: int) -> None:
        if s == self.at:
            self.change()

    def change(self) -> None:
        with torch.no_grad():
            for p in self.model.parameters():
                if self.how == "mul":
                    p.data.mul_(0.9)
                elif self.how == "clamp":
                    p.clamp_(-0.2, 0.2)
                else:
                    p.data.view(-1)[0] += 0.1


class EditedAtTheEnd(EditedBetween):
    def setup(self) -> None:
        super().setup()
        self.at = self.length - 1


class AverageLeftIn(Loop):
    """The average of the parameters is swapped in before the block ends, and stays."""

    def begin(self) -> None:
        self.average = [p.detach().clone() for p in self.model.parameters()]

    def after(self, s: int) -> None:
        with torch.no_grad():
            for mean, p in zip(self.average, self.model.parameters(), strict=True):
                mean.lerp_(p, 0.1)

    def end(self) -> None:
        with torch.no_grad():
            for mean, p in zip(self.average, self.model.parameters(), strict=True):
                p.copy_(mean)


class AverageSwapped(AverageLeftIn):
    """Evaluation on averaged parameters, which are swapped out again."""

    healthy = True

    def after(self, s: int) -> None:
        super().after(s)
        kept = [p.detach().clone() for p in self.model.parameters()]
        AverageLeftIn.end(self)
        with torch.no_grad():
            self.model(self.test[0])
            for p, value in zip(self.model.parameters(), kept, strict=True):
                p.copy_(value)

    def end(self) -> None: ...


class EditedBeforeStep(EditedBetween):
    """Parameters change between backward and step: the gradient belongs to others than the update starts from."""

    def edit(self, s: int) -> None:
        if s == self.at:
            self.change()

    def after(self, s: int) -> None: ...


class PostHookEdits(Loop):
    """A hook that clamps the parameters after every step."""

    def begin(self) -> None:
        bound = self.draw.choice((0.25, 0.4))

        def clamp(*_: object) -> None:
            with torch.no_grad():
                for p in self.model.parameters():
                    p.clamp_(-bound, bound)

        self.optimizer.register_step_post_hook(clamp)


class HookChangesRate(Loop):
    """A step hook that is registered after the recorder's changes the learning rate at one update."""

    def begin(self) -> None:
        self.count = 0
        self.optimizer.register_step_pre_hook(self.hook)

    def hook(self, *_: object) -> None:
        self.optimizer.param_groups[0]["lr"] *= 3.0 if self.count == self.at else 1.0
        self.count += 1


class HookChangesDecay(HookChangesRate):
    def hook(self, *_: object) -> None:
        self.optimizer.param_groups[0]["weight_decay"] += 0.2 if self.count == self.at else 0.0
        self.count += 1


class HookChangesGradient(HookChangesRate):
    """The same, for the gradient: scaled, or with noise."""

    def setup(self) -> None:
        self.noise = self.draw.random() < 0.5

    def hook(self, *_: object) -> None:
        if self.count == self.at:
            for p in self.model.parameters():
                p.grad.mul_(0.5)
                if self.noise:
                    p.grad.add_(torch.randn_like(p.grad) * p.grad.std())
        self.count += 1


class HookBeforeRecording(HookChangesRate):
    """The hook exists before the recorder: it acts first, and the recorder sees what it left."""

    healthy = True

    def setup(self) -> None:
        self.count = 0
        self.optimizer.register_step_pre_hook(self.hook)

    def begin(self) -> None: ...


class Scheduled(Loop):
    healthy = True

    def begin(self) -> None:
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.optimizer, 3 * self.length)

    def after(self, s: int) -> None:
        self.schedule.step()


class RateZeroMeanwhile(Loop):
    healthy = True

    def zero(self, s: int) -> None:
        group = self.optimizer.param_groups[0]
        if s == self.at:
            self.kept, group["lr"] = group["lr"], 0.0
        if s == self.at + 1:
            group["lr"] = self.kept
        super().zero(s)


class OptionsChanged(Loop):
    """Momentum or betas and the decay change in mid-run: known options, so this may be answered."""

    def zero(self, s: int) -> None:
        if s == self.at:
            for group in self.optimizer.param_groups:
                group["weight_decay"] *= 2
                if "betas" in group:
                    group["betas"] = (0.7, 0.95)
                elif group["momentum"]:
                    group["momentum"] = 0.5
        super().zero(s)


class StepNone(Loop):
    healthy = True

    def step(self, s: int) -> None:
        self.tape.arm(self.optimizer)
        self.optimizer.step(None)


class GroupsAndFrozen(Loop):
    """Parameter groups with their own options, and a layer that is frozen throughout."""

    healthy = True

    def make_optimizer(self):
        first, *others = self.model.parameters()
        frozen = others.pop(0)
        frozen.requires_grad_(False)
        made = OPTIMIZERS[self.chosen]([{"params": [first], "weight_decay": 0.0}, {"params": others}])
        made.param_groups[1]["lr"] *= 0.5
        return made


class FrozenMeanwhile(Loop):
    """A parameter is frozen at one update: its gradient is None from then on, or keeps the last value."""

    def setup(self) -> None:
        self.stale = self.draw.random() < 0.5

    def zero(self, s: int) -> None:
        super().zero(s)
        if s == self.at:
            p = self.draw.choice(list(self.model.parameters()))
            p.requires_grad_(False)
            p.grad = torch.zeros_like(p) if self.stale else None


class Resumed(Loop):
    """Interrupted after a whole chunk and continued: the same updates."""

    healthy = True

    def go(self, path: Path) -> None:
        self.chunk_steps = 4
        self.tape = Tape(self.model, self.samples)
        try:
            with explaind.record(path, self.model, self.optimizer, chunk_steps=4) as self.run:
                for s in range(8):
                    self.update(s)
                raise KeyboardInterrupt
        except KeyboardInterrupt:
            self.meanwhile()
        with explaind.record(path, self.model, self.optimizer, chunk_steps=4, resume=True) as self.run:
            self.inside()
            for s in range(self.run.step, self.length):
                self.update(s)
        self.tape.finish()

    def meanwhile(self) -> None: ...

    def inside(self) -> None: ...


class ResumedAndEdited(Resumed):
    """Parameters or memory are changed after the block restored them."""

    healthy = False

    def setup(self) -> None:
        self.how = self.draw.choice(("parameters", "memory"))

    def inside(self) -> None:
        with torch.no_grad():
            if self.how == "parameters":
                for p in self.model.parameters():
                    p.mul_(0.8)
            else:
                self.optimizer.state.clear()


class Warm(Loop):
    """An optimizer with history: the momentum it starts with is a term of its own."""

    healthy = True

    def setup(self) -> None:
        for s in range(3):
            x, y = self.data(self.batches[s])
            self.optimizer.zero_grad()
            self.loss(self.model(x), y).backward()
            self.optimizer.step()


class ReplacedLayer(Loop):
    """A layer is initialised again in mid-run."""

    def after(self, s: int) -> None:
        if s == self.at:
            nn.init.normal_(self.model.readout.weight, std=0.2)


KINDS = [
    kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, Loop) and kind not in (Loop, Remembering)
]
