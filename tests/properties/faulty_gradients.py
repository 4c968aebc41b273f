"""Runs whose gradients are changed between backward and step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from tests.properties.loops import Loop


class ClippedByNorm(Loop):
    healthy = True

    def edit(self, s: int) -> None:
        nn.utils.clip_grad_norm_(self.model.parameters(), 0.3)


class Edited(Loop):
    """The gradient of one update, or of all, is edited."""

    factor = True  # is the edit a factor for every entry?

    def setup(self) -> None:
        self.always = self.draw.random() < 0.4

    def edit(self, s: int) -> None:
        if self.always or s == self.at:
            self.tape.elementwise = self.factor
            with torch.no_grad():
                self.change([p.grad for p in self.model.parameters()])

    def change(self, gradients: list[Tensor]) -> None: ...


class Noise(Edited):
    factor = False

    def change(self, gradients: list[Tensor]) -> None:
        for g in gradients:
            g.add_(torch.randn_like(g) * 0.3 * g.norm() / g.numel() ** 0.5)


class NoiseOfEqualNorm(Noise):
    """The norm of every parameter's gradient is what it was."""

    def change(self, gradients: list[Tensor]) -> None:
        for g in gradients:
            norm = g.norm()
            g.add_(torch.randn_like(g) * 0.3 * norm / g.numel() ** 0.5)
            g.mul_(norm / g.norm())


class LayerZeroed(Edited):
    def change(self, gradients: list[Tensor]) -> None:
        for g in gradients[:2]:
            g.zero_()


class ClippedByValue(Edited):
    def change(self, gradients: list[Tensor]) -> None:
        for g in gradients:
            g.clamp_(-0.05, 0.05)


class ClippedPerModule(Edited):
    def change(self, gradients: list[Tensor]) -> None:
        for g in gradients:
            g.mul_(min(1.0, 0.1 / float(g.norm() + 1e-6)))


class Signs(Edited):
    def change(self, gradients: list[Tensor]) -> None:
        for g in gradients:
            g.copy_(g.sign())


class Negated(Edited):
    def change(self, gradients: list[Tensor]) -> None:
        for g in gradients:
            g.neg_()


class Shuffled(Edited):
    """The entries in another order: the norms stay."""

    factor = False

    def change(self, gradients: list[Tensor]) -> None:
        for g in gradients:
            g.copy_(g.flip(0))


class TensorHook(Loop):
    """A hook on the parameters changes each gradient before it is accumulated, at one update or always."""

    factor = True

    def setup(self) -> None:
        self.always = self.draw.random() < 0.4

    def gradients(self, s: int) -> None:
        x, y = self.data(self.batches[s])
        outputs = self.forward(s, x)
        loss = self.objective(s, outputs, y)
        self.tape.backward(outputs, loss, self.batches[s])
        handles = []
        if self.always or s == self.at:
            self.tape.elementwise = self.factor
            handles = [p.register_hook(self.change) for p in self.model.parameters()]
        loss.backward()
        for handle in handles:
            handle.remove()

    def change(self, gradient: Tensor) -> Tensor:
        return gradient.clamp(-0.05, 0.05)


class TensorHookNoise(TensorHook):
    factor = False

    def change(self, gradient: Tensor) -> Tensor:
        return gradient + 0.3 * torch.randn_like(gradient) * gradient.norm() / gradient.numel() ** 0.5


class Perturbed(Loop):
    """The gradient is that of other parameters: of the update before, or moved along the gradient (sharpness-aware)."""

    def setup(self) -> None:
        self.always = self.draw.random() < 0.4

    def gradients(self, s: int) -> None:
        if not (self.always or s == self.at):
            return super().gradients(s)
        kept = [p.detach().clone() for p in self.model.parameters()]
        super().gradients(s)
        with torch.no_grad():
            for p in self.model.parameters():
                p.add_(p.grad, alpha=0.5)
        self.zero(s)
        super().gradients(s)
        with torch.no_grad():
            for p, value in zip(self.model.parameters(), kept, strict=True):
                p.copy_(value)
        return None


class Assigned(Loop):
    """Gradients by torch.autograd.grad, put into .grad: the right ones, but no backward pass was seen."""

    def gradients(self, s: int) -> None:
        x, y = self.data(self.batches[s])
        outputs = self.forward(s, x)
        loss = self.objective(s, outputs, y)
        self.tape.backward(outputs, loss, self.batches[s])
        leaves = list(self.model.parameters())
        for p, g in zip(leaves, torch.autograd.grad(loss, leaves), strict=True):
            p.grad = g


class Replaced(Edited):
    """A gradient of another batch is put into .grad after the announced one's backward pass."""

    factor = False

    def change(self, gradients: list[Tensor]) -> None:
        x, y = self.data(self.batches[0])
        with torch.enable_grad():
            leaves = list(self.model.parameters())
            found = torch.autograd.grad(self.loss(self.model(x), y), leaves)
        for p, g in zip(leaves, found, strict=True):
            p.grad = g.clone()


KINDS = [
    kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, Loop) and kind not in (Loop, Edited)
]
