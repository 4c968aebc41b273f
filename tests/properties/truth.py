"""What really happened in a training run, in float64, from a tape that shares nothing with the recording.

The tape watches the live model: the gradient of each sample as it entered `.grad`, the gradient that the optimizer saw, the
optimizer's own memory before and after, and every parameter change that no optimizer made. From these the tensor of
influences is written out by brute force: the momentum sample by sample, Φ with Gauss-Legendre nodes on every path.

Rows of an update, [N + 3, D]: the N training samples, weight decay, `rest` (what entered through the gradient or the buffer
but is no sample's gradient: a penalty, noise, a buffer that was replaced), and `carried` (memory from before the first update).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import SGD, Optimizer

Value = Callable[[dict[str, Tensor]], Tensor]
"""θ by name → the explained values of all test samples, [X, O]."""
NODES = 4  # exact to order 8 in the length of an update


@dataclass
class Update:
    """One change of the parameters: rows [N + 3, D] that add up to θ_after − θ_before, or None if no optimizer made it."""

    before: Tensor
    after: Tensor
    rows: Tensor | None


class Tape:
    """Notes what a training loop does to the parameters of `model`.

    Args:
        model: the live model.
        samples: N, the number of training samples.
    """

    def __init__(self, model: nn.Module, samples: int) -> None:
        self.parameters = dict(model.named_parameters())
        self.sizes = [p.numel() for p in self.parameters.values()]
        self.samples, self.size = samples, sum(self.sizes)
        self.updates: list[Update] = []
        self.elementwise = False  # has the coming update's gradient been multiplied entry by entry?
        self._entered = torch.zeros(samples, self.size, dtype=torch.float64)
        self._memory: dict[int, Tensor] = {}
        self._handles: dict[int, list] = {}
        self._last: Tensor | None = None
        dtype = next(iter(self.parameters.values())).dtype
        self._slack = 1e-9 if dtype == torch.float64 else 2e-4

    def arm(self, optimizer: Optimizer) -> None:
        """Watch the next step of `optimizer` from inside all other hooks."""
        for handle in self._handles.pop(id(optimizer), []):
            handle.remove()
        pre = optimizer.register_step_pre_hook(self._before)
        post = optimizer.register_step_post_hook(self._after)
        optimizer._optimizer_step_post_hooks.move_to_end(post.id, last=False)
        self._handles[id(optimizer)] = [pre, post]

    def backward(self, outputs: Tensor, loss: Tensor, indices: Sequence[int]) -> None:
        """Note ∂loss/∂θ sample by sample, through the outputs [n, …] of the samples; call it before loss.backward()."""
        (delta,) = torch.autograd.grad(loss, outputs, retain_graph=True)
        leaves = [p for p in self.parameters.values() if p.requires_grad]
        for position, k in enumerate(indices):
            one = (outputs[position] * delta[position]).sum()
            found = iter(torch.autograd.grad(one, leaves, retain_graph=True, allow_unused=True))
            parts = [next(found) if p.requires_grad else None for p in self.parameters.values()]
            self._entered[k] += self._flat(parts)

    def cleared(self) -> None:
        """The gradients were set to zero."""
        self._entered = torch.zeros_like(self._entered)

    def scaled(self, factor: float) -> None:
        """The gradients so far were multiplied."""
        self._entered *= factor

    def finish(self) -> None:
        """Training is over: whatever differs now was changed by hand."""
        self._note_edit()
        for handles in self._handles.values():
            for handle in handles:
                handle.remove()

    def _flat(self, parts: Sequence[Tensor | None]) -> Tensor:
        full = [
            torch.zeros(n, dtype=torch.float64) if part is None else part.detach().double().reshape(-1)
            for part, n in zip(parts, self.sizes, strict=True)
        ]
        return torch.cat(full)

    def _theta(self) -> Tensor:
        return self._flat(list(self.parameters.values())).clone()

    def _spread(self, values: Sequence[float]) -> Tensor:
        return torch.tensor(values, dtype=torch.float64).repeat_interleave(torch.tensor(self.sizes))

    def _note_edit(self) -> None:
        now = self._theta()
        if self._last is not None and not torch.equal(now, self._last):
            self.updates.append(Update(self._last, now, None))
        self._last = now

    def _buffer(self, optimizer: Optimizer) -> Tensor:
        key = "momentum_buffer" if isinstance(optimizer, SGD) else "exp_avg"
        return self._flat([optimizer.state.get(p, {}).get(key) for p in self.parameters.values()])

    def _before(self, optimizer: Optimizer, *_: object) -> None:
        self._note_edit()
        self._start = self._last
        options = {id(p): group for group in optimizer.param_groups for p in group["params"]}
        stepped = [p.grad is not None and id(p) in options for p in self.parameters.values()]
        self._stepped = self._spread([float(s) for s in stepped])
        self._options = {
            name: self._spread([float(_option(options.get(id(p)), name)) for p in self.parameters.values()])
            for name in ("lr", "weight_decay", "beta1", "beta2", "eps", "momentum", "dampening", "nesterov")
        }
        self._fresh = self._spread(
            [
                float(optimizer.state.get(p, {}).get("momentum_buffer") is None)
                for p in self.parameters.values()
            ]
        )
        self._decoupled = bool(optimizer.param_groups[0].get("decoupled_weight_decay", False))
        rows = self._memory.setdefault(
            id(optimizer), torch.zeros(self.samples + 3, self.size, dtype=torch.float64)
        )
        self._as_it_is(rows, self._buffer(optimizer), first=not bool(rows.any()))
        seen = self._flat([p.grad for p in self.parameters.values()])
        scale = getattr(optimizer, "grad_scale", None)  # a fused optimizer unscales inside its step
        seen = seen if scale is None else seen / float(scale)
        self._gradient = self._split(seen)
        self._gradient[self.samples] = 0.0 if self._decoupled else self._options["weight_decay"] * self._start
        self._gradient *= self._stepped

    def _split(self, seen: Tensor) -> Tensor:
        """The gradient that the optimizer sees as rows: the samples' own, times what they were scaled with, and the rest."""
        rows = torch.zeros(self.samples + 3, self.size, dtype=torch.float64)
        total = self._entered.sum(0)
        if not bool(torch.isfinite(total).all()):  # such samples are no part of what a loop keeps
            total = torch.zeros_like(total)
            self._entered = torch.zeros_like(self._entered)
        square = float(total @ total)
        factor: Tensor | float = float(seen @ total) / square if square else 1.0
        if self.elementwise:
            factor = torch.where(total == 0, 1.0, seen / torch.where(total == 0, 1.0, total))
        elif float((seen - factor * total).norm()) > self._slack * float(seen.norm()):
            factor = 1.0
        rows[: self.samples] = factor * self._entered
        rows[self.samples + 1] = seen - factor * total
        self.elementwise = False
        return rows

    def _as_it_is(self, rows: Tensor, buffer: Tensor, *, first: bool) -> None:
        """Where the optimizer's memory is not what its updates made of it: scaled, or replaced by something else."""
        begin = 0
        for n in self.sizes:
            part, is_now = rows[:, begin : begin + n], buffer[begin : begin + n]
            expected = part.sum(0)
            begin += n
            if float((is_now - expected).norm()) <= self._slack * float(expected.norm() + is_now.norm()):
                continue
            square = float(expected @ expected)
            factor = float(is_now @ expected) / square if square else 0.0
            if float((is_now - factor * expected).norm()) > self._slack * float(is_now.norm() + 1e-30):
                factor = 0.0
            part *= factor
            part[self.samples + (2 if first else 1)] += is_now - factor * expected

    def _after(self, optimizer: Optimizer, *_: object) -> None:
        if float(
            getattr(optimizer, "found_inf", None) or 0.0
        ):  # … and does nothing where something overflowed
            return
        o, entering, stepped = self._options, self._gradient, self._stepped
        memory = self._memory[id(optimizer)]
        states = [optimizer.state.get(p, {}) for p in self.parameters.values()]
        if isinstance(optimizer, SGD):
            inflow = torch.where(self._fresh.bool(), 1.0, 1 - o["dampening"])
            rolled = torch.where(
                o["momentum"] == 0, torch.zeros(()).double(), o["momentum"] * memory + inflow * entering
            )
            pushed = torch.where(
                o["momentum"] == 0,
                entering,
                torch.where(o["nesterov"].bool(), entering + o["momentum"] * rolled, rolled),
            )
            rows = -o["lr"] * pushed
        else:
            t = self._spread([float(state.get("step", 1)) for state in states])
            v = self._flat([state.get("exp_avg_sq") for state in states])
            rolled = o["beta1"] * memory + (1 - o["beta1"]) * entering
            scale = (v / (1 - o["beta2"] ** t)).sqrt() + o["eps"]
            rows = -o["lr"] / (1 - o["beta1"] ** t) * rolled / torch.where(scale == 0, 1.0, scale)
            if self._decoupled:
                rows[self.samples] -= o["lr"] * o["weight_decay"] * self._start
        rows = rows * stepped
        self._memory[id(optimizer)] = torch.where(stepped.bool(), rolled, memory)
        now = self._theta()
        miss = float((rows.sum(0) - (now - self._start)).norm())
        allowed = self._slack * float(rows.abs().sum(0).norm()) + (
            1e-15 if self._slack < 1e-6 else 1e-6
        ) * float(now.norm())
        assert miss <= allowed, f"the tape does not explain the optimizer's own update: off by {miss:.2e}"
        self.updates.append(Update(self._start, now, rows))
        self._last = now


def _option(group: dict | None, name: str) -> float:
    if group is None:
        return 0.0
    first, second = group.get("betas", (0.0, 0.0))
    return {**group, "beta1": first, "beta2": second}.get(name, 0.0)


@dataclass
class Truth:
    """The whole decomposition: influence [S, D, N, X, O]; regularization, rest, carried [S, D, X, O]; values [S + 1, X, O].

    `values[s]` = f(θ_s) is taken right before update s, and the last one at the very end of training.
    """

    layers: list[str]
    names: list[str]
    influence: Tensor
    regularization: Tensor
    rest: Tensor
    carried: Tensor
    values: Tensor


def write_out(tape: Tape, value: Value) -> Truth:
    """The tensor of influences of everything on the tape."""
    at, weight = np.polynomial.legendre.leggauss(NODES)
    shapes = {name: p.shape for name, p in tape.parameters.items()}
    named = [name for name, n in zip(shapes, tape.sizes, strict=True) for _ in range(n)]

    def flat_value(theta: Tensor) -> Tensor:
        parts = theta.split(tape.sizes)
        return value({name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)})

    tensors: list[Tensor] = []
    made = [update for update in tape.updates if update.rows is not None]
    for update in made:
        phi = 0.0
        for tau, w in zip((at + 1) / 2, weight / 2, strict=True):
            theta = update.before + float(tau) * (update.after - update.before)
            phi = phi + float(w) * torch.autograd.functional.jacobian(flat_value, theta)
        tensors.append(torch.einsum("xod,rd->drxo", phi, update.rows))
    with torch.no_grad():
        ends = [u.before for u in made] + [tape.updates[-1].after]
        values = torch.stack([flat_value(theta) for theta in ends])
    whole, n = torch.stack(tensors), tape.samples
    return Truth(
        [name.rpartition(".")[0] for name in named],
        named,
        whole[:, :, :n],
        whole[:, :, n],
        whole[:, :, n + 1],
        whole[:, :, n + 2],
        values,
    )
