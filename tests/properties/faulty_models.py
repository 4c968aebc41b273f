"""Models that are no function of the sample alone, that change, or whose derivative is not what autograd says."""

from __future__ import annotations

import copy
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from tests.properties.loops import TESTS, Loop, Perceptron

DOUBLE = (torch.float64,)


class Function(Perceptron):
    """A perceptron whose hidden activations a function of (module, inputs, activations) changes."""

    def __init__(self, change) -> None:
        super().__init__()
        self.change = change

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(self.change(self, x, torch.tanh(self.hidden(x))))


class Changed(Loop):
    """The model's hidden activations go through `change`."""

    bags = False
    dtypes = DOUBLE

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h

    def make_model(self) -> nn.Module:
        return Function(type(self).change)


class BatchMean(Changed):
    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h - 0.5 * h.mean(0)


class BatchStatistics(Changed):
    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return (h - h.mean(0)) / (h.var(0, unbiased=False) + 0.1).sqrt()


class BatchAttention(Changed):
    """Samples attend to each other."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h + torch.softmax(h @ h.T, dim=-1) @ h


class BatchSize(Changed):
    """The output depends on how many samples there are."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h / len(x) ** 0.5


class Neighbour(Changed):
    """Each sample sees the one before it in the batch; the first sees itself."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h + 0.3 * torch.cat([h[:1], h[:-1]])


class MixedInTraining(Changed):
    """Samples mix while the model trains, not when it is evaluated."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h - 0.5 * h.mean(0) if module.training else h


class BranchOnTheBatch(Changed):
    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h if x.sum() > 0 else 0.3 * h


class FrequencyScaled(Loop):
    """An embedding that divides its gradient by how often a token occurs in the batch."""

    dtypes = DOUBLE

    def __init__(self, seed: int) -> None:
        super().__init__(seed)

    def make_model(self) -> nn.Module:
        class Scaled(nn.Module):
            def __init__(self, scaled: bool = True) -> None:
                super().__init__()
                self.embed = nn.Embedding(5, 4, scale_grad_by_freq=scaled)
                self.readout = nn.Linear(4, 3)

            def forward(self, x: Tensor) -> Tensor:
                tokens = x.abs().mul(2).long().clamp(max=4) if x.is_floating_point() else x
                return self.readout(torch.tanh(self.embed(tokens).mean(1)))

        self.kind = Scaled
        return Scaled()

    def truth_model(self) -> nn.Module:
        right = self.kind(scaled=False)
        right.load_state_dict(self.model.state_dict())
        return right


class AlwaysDropout(Changed):
    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return F.dropout(h, 0.3, training=True)


class TrainingDropout(Changed):
    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return F.dropout(h, 0.3, training=module.training)


class RareDropout(Changed):
    """Dropout that acts in a few updates in the middle only."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return F.dropout(h, 0.4, training=getattr(module, "drops", False))

    def zero(self, s: int) -> None:
        super().zero(s)
        self.model.drops = s == self.at


class ForwardNoise(Changed):
    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h + 0.1 * torch.randn_like(h)


class TrainingNoise(Changed):
    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h + 0.1 * torch.randn_like(h) if module.training else h


class TrainingDiffers(Changed):
    """Another deterministic forward pass in training mode."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return 0.5 * h if module.training else h


class ValueShapes(Changed):
    """A mean over those entries of the sample that are positive, by a Python length."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return torch.stack(
            [a * (t[t > 0].sum() + 1) / (len(t[t > 0]) + 1) for a, t in zip(h, x, strict=True)]
        )


class BranchPerSample(Changed):
    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return torch.stack([a if t.sum() > 0 else 0.3 * a.exp() for a, t in zip(h, x, strict=True)])


class Item(Changed):
    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return torch.stack([a * t.norm().item() for a, t in zip(h, x, strict=True)])


class Routed(Changed):
    """Rows are routed by nonzero."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        out = h.clone()
        chosen = (x[:, 0] > 0).nonzero().squeeze(1)
        return out.index_copy(0, chosen, h[chosen].sin() + 1)


class BranchOnActivation(Changed):
    """The branch depends on the parameters: it flips along the way."""

    bent = True

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return torch.stack([a if float(a.detach().sum()) > 0 else 0.9 * a for a in h])


class Buffered(Perceptron):
    def __init__(self, value: Tensor) -> None:
        super().__init__()
        self.register_buffer("scale", value)

    def forward(self, x: Tensor) -> Tensor:
        return self.readout(torch.tanh(self.hidden(x)) * self.scale)


class BufferChanged(Loop):
    """A buffer changes at one update and keeps the new value."""

    bags = False
    dtypes = DOUBLE

    def make_model(self) -> nn.Module:
        return Buffered(torch.tensor(1.0))

    def zero(self, s: int) -> None:
        super().zero(s)
        if s == self.at:
            self.model.scale.fill_(2.0)


class BufferToggled(BufferChanged):
    """… or only for this update."""

    def after(self, s: int) -> None:
        self.model.scale.fill_(1.0)


class IntegerBuffer(BufferChanged):
    def make_model(self) -> nn.Module:
        return Buffered(torch.tensor(1))


class AttributeChanged(BufferChanged):
    """A number that is no buffer, such as a temperature that is annealed."""

    def make_model(self) -> nn.Module:
        class Tempered(Perceptron):
            scale = torch.tensor(1.0)

            def forward(self, x: Tensor) -> Tensor:
                return self.readout(torch.tanh(self.hidden(x)) * self.scale)

        model = Tempered()
        model.scale = torch.tensor(1.0)
        return model


class AttributeToggled(AttributeChanged):
    def after(self, s: int) -> None:
        self.model.scale.fill_(1.0)


class RunningBuffer(Loop):
    """The forward pass updates a running mean while training and uses it."""

    bags = False
    dtypes = DOUBLE

    def make_model(self) -> nn.Module:
        class Running(Perceptron):
            def __init__(self) -> None:
                super().__init__()
                self.register_buffer("mean", torch.zeros(4))

            def forward(self, x: Tensor) -> Tensor:
                h = torch.tanh(self.hidden(x))
                if self.training:
                    self.mean.mul_(0.8).add_(0.2 * h.detach().mean(0))
                return self.readout(h - self.mean)

        return Running()


class Squash(torch.autograd.Function):
    """tanh with the derivative of the identity."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor) -> Tensor:
        return torch.tanh(x)

    @staticmethod
    def setup_context(ctx, inputs, output) -> None: ...

    @staticmethod
    def backward(ctx, gradient: Tensor) -> Tensor:
        return gradient

    @staticmethod
    def jvp(ctx, tangent: Tensor) -> Tensor:
        return tangent.clone()


class FakeBackward(Loop):
    """A custom function whose backward is not the derivative: the residual must show it."""

    bags = False
    bent = True
    dtypes = DOUBLE

    def make_model(self) -> nn.Module:
        return Perceptron(lambda h: Squash.apply(3 * h))

    def truth_model(self) -> nn.Module:
        right = copy.deepcopy(self.model)
        right.bend = lambda h: torch.tanh(3 * h)
        return right


class StopGradient(FakeBackward):
    def make_model(self) -> nn.Module:
        return Perceptron(lambda h: torch.tanh(h) * torch.tanh(2 * h).detach())

    def truth_model(self) -> nn.Module:
        right = copy.deepcopy(self.model)
        right.bend = lambda h: torch.tanh(h) * torch.tanh(2 * h)
        return right


class OtherStructure(Loop):
    """Another model with parameters of the same shapes is passed to the query."""

    bags = False

    def setup(self) -> None:
        bends = [F.relu, F.gelu, torch.tanh, F.silu]
        first, self.other = self.draw.sample(bends[1:], 2)
        self.model.bend = first
        if self.draw.random() < 0.3:
            self.other = F.relu

    def asked_model(self) -> nn.Module:
        return Perceptron(self.other).to(self.dtype)

    def queries(self) -> list[dict[str, Any]]:
        """Without training samples, the other model is simply another function of the recorded parameters."""
        return [query for query in super().queries() if query["train"]]


class BendReplaced(Loop):
    """The non-linearity is replaced in mid-run."""

    bags = False

    def setup(self) -> None:
        self.until = self.draw.choice((self.at + 1, 99))

    def zero(self, s: int) -> None:
        super().zero(s)
        self.model.bend = torch.sin if self.at <= s < self.until else torch.tanh

    def end(self) -> None:
        self.model.bend = torch.tanh


class Autocast(Loop):
    """Training under autocast; the parameters are float32."""

    bags = False
    dtypes = (torch.float32,)

    def setup(self) -> None:
        self.always = self.draw.random() < 0.5

    def forward(self, s: int, x: Tensor) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=self.always or s == self.at):
            return self.model(x)

    def objective(self, s: int, outputs: Tensor, targets: Tensor) -> Tensor:
        return self.loss(outputs.float(), targets)


class CoupledLoss(Loop):
    """A loss that couples the samples' outputs: fine, it is differentiated through the outputs."""

    healthy = True

    def loss(self, outputs: Tensor, targets: Tensor) -> Tensor:
        return F.cross_entropy(outputs, targets) + 0.3 * (outputs - outputs.mean(0)).square().mean()


class Tied(Loop):
    """One weight used twice."""

    healthy = True
    bags = False

    def make_model(self) -> nn.Module:
        class Both(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.hidden, self.readout = nn.Linear(3, 3), nn.Linear(3, 3)
                self.readout.weight = self.hidden.weight

            def forward(self, x: Tensor) -> Tensor:
                return self.readout(torch.tanh(self.hidden(x)))

        return Both()


class Normalised(Loop):
    """LayerNorm and GELU."""

    healthy = True
    bags = False

    def make_model(self) -> nn.Module:
        class Layers(Perceptron):
            def __init__(self) -> None:
                super().__init__(F.gelu)
                self.norm = nn.LayerNorm(4)

            def forward(self, x: Tensor) -> Tensor:
                return self.readout(self.bend(self.norm(self.hidden(x))))

        return Layers()


class PositionInBatch(Changed):
    """The output depends on where in the batch the sample stands; the first is as it would be alone."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h * (1 + 0.2 * torch.arange(len(h), dtype=h.dtype)).unsqueeze(1)


class MixedWhenMany(Changed):
    """Samples mix only in batches of more than two."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h - 0.5 * h.mean(0) if len(h) > 2 else h


class MixedWhenLarge(Changed):
    """Samples mix through those whose first feature is large, and which may be rare."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h + 0.3 * torch.tanh((x[:, 0] - 0.8).relu().sum())


class Remembers(Changed):
    """The forward pass keeps its last activations and adds them."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        last = getattr(module, "last", None)
        module.last = h.detach().mean(0)
        return h if last is None else h + 0.3 * last


class InPlaceInput(Changed):
    """The forward pass changes its input in place."""

    @staticmethod
    def change(module: nn.Module, x: Tensor, h: Tensor) -> Tensor:
        return h

    def make_model(self) -> nn.Module:
        class Shifts(Perceptron):
            def forward(self, x: Tensor) -> Tensor:
                return super().forward(x.mul_(1.1))

        return Shifts()

    def value_at(self, theta: dict[str, Tensor], x: Tensor) -> Tensor:
        return super().value_at(theta, x.clone())

    def setup(self) -> None:
        self.untouched = self.test[0].clone()

    def truth(self):
        self.test = (self.untouched.clone(), self.test[1])
        return super().truth()


class EvalBeforeStep(Loop):
    """Dropout acts in the forward pass of some updates, and the model is in evaluation mode again before the step."""

    bags = False
    dtypes = DOUBLE

    def make_model(self) -> nn.Module:
        class Dropped(Perceptron):
            def __init__(self) -> None:
                super().__init__()
                self.drop = nn.Dropout(0.4)

            def forward(self, x: Tensor) -> Tensor:
                return self.readout(self.drop(torch.tanh(self.hidden(x))))

        return Dropped().eval()

    def forward(self, s: int, x: Tensor) -> Tensor:
        self.model.train(s == self.at)
        found = self.model(x)
        self.model.eval()
        return found


class MixedTarget(Loop):
    """The explained function of the outputs mixes the test samples."""

    bags = False
    dtypes = DOUBLE

    def queries(self) -> list[dict[str, Any]]:
        def centred(outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs - 0.5 * outputs.mean(0)

        return [{**query, "target": centred} for query in super().queries()]

    def value_at(self, theta: dict[str, Tensor], x: Tensor) -> Tensor:
        return 0.5 * super().value_at(theta, x)


class RandomTarget(Loop):
    """The explained function of the outputs is random."""

    bags = False
    dtypes = DOUBLE

    def queries(self) -> list[dict[str, Any]]:
        def noisy(outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs * (1 + 0.1 * torch.randn(()))

        return [{**query, "target": noisy} for query in super().queries()]


class Margin(Loop):
    """A function of the outputs of each sample alone."""

    healthy = True

    def queries(self) -> list[dict[str, Any]]:
        def centred(outputs: Tensor, targets: Tensor) -> Tensor:
            return outputs - 0.5 * outputs.mean(1, keepdim=True)

        return [{**query, "target": centred} for query in super().queries()]

    def value_at(self, theta: dict[str, Tensor], x: Tensor) -> Tensor:
        found = super().value_at(theta, x)
        return found - 0.5 * found.mean(1, keepdim=True)


assert TESTS > 1  # with a single test sample, nothing could mix
KINDS = [
    kind
    for kind in list(vars().values())
    if isinstance(kind, type) and issubclass(kind, Loop) and kind not in (Loop, Changed)
]
