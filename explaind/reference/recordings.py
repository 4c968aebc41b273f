"""The definition, literally, in float64: every other algorithm is tested against this file. Slow on purpose.

Axes of the tensors, always in this order: step s, parameter p, training sample k, test sample x, output j.

    u_s = −Σ_k φ_{s,k} − r_s                                      (ledger, method.md section 2)
    I[s,p,k,x,j] = −Φ_s(x)[j,p] · φ_{s,k}[p]                        R[s,p,x,j] = −Φ_s(x)[j,p] · r_s[p]
    f_{θ_T}(x)_j = f_{θ_0}(x)_j + Σ I + Σ R

Written from the optimizers' textbook updates, with the buffers unrolled into explicit double sums; shares no code with the
ledger, the features or the algorithms. Momentum that a resumed optimizer starts with is a term of its own (carried), C[s,p,x,j],
and so is a part of the loss that depends on parameters alone (penalty), P[s,p,x,j].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import functional_call

from explaind.recording.trajectory import Trajectory


@dataclass(frozen=True)
class ReferenceTensors:
    """The whole decomposition.

    Attributes:
        influence: I, [S, D, N, X, O].
        seen: the same credited by sample: entry i is what the gradient that entered at update i does at all updates ≥ i
            of the window, [T, D, N, X, O].
        regularization: R, [S, D, X, O].
        carried: C, [S, D, X, O].
        penalty: P, [S, D, X, O].
        initial, final: f at the first θ and after the last update of the window, [X, O].
        replay: worst |u_s − (−Σ_k φ − r − carried − penalty)| over the window.
    """

    influence: Tensor
    seen: Tensor
    regularization: Tensor
    carried: Tensor
    penalty: Tensor
    initial: Tensor
    final: Tensor
    replay: float

    def residual(self) -> Tensor:
        """What completeness misses: quadrature and replay together, [X, O]."""
        parts = self.influence.sum((0, 1, 2)) + self.regularization.sum((0, 1))
        return self.final - self.initial - parts - self.carried.sum((0, 1)) - self.penalty.sum((0, 1))


def decompose(
    trajectory: Trajectory,
    model: nn.Module,
    sample_gradient: Callable[[dict[str, Tensor], int], dict[int, Tensor]],
    value: Callable[[dict[str, Tensor]], Tensor],
    *,
    train: int,
    start: int = 0,
    stop: int | None = None,
    nodes: int = 64,
    penalty: Callable[[dict[str, Tensor]], Tensor] | None = None,
    average: Sequence[float] | None = None,
) -> ReferenceTensors:
    """Every entry of the tensor of influences.

    Args:
        trajectory: the recorded run, small.
        model: unused values; gives the parameter names.
        sample_gradient: (θ_s by name, s) → {k: ∂(batch loss of update s)/∂θ that is due to sample k, flat [D]}, without clipping.
        value: θ by name → f(x)_j, [X, O].
        train: N, the number of training samples.
        start, stop: the window of updates.
        nodes: of a Gauss-Legendre rule on [0, 1].
        penalty: θ by name → R(θ), of which the loss had the recorded multiple.
        average: a_0 … a_T: Σ_t a_t θ_t is explained, along θ_0 + Σ_{i<s} (Σ_{t>i} a_t) u_i.

    Raises:
        ValueError: another optimizer than Adam, AdamW and SGD.
    """
    stop = trajectory.n_steps if stop is None else stop
    layout = trajectory.layout
    size = layout.size
    position, weight = _gauss_legendre(nodes)

    # g_{i,k} of every update up to the end of the window, with the clip factor and the sign of a maximizing optimizer
    gradients = torch.zeros(stop, train, size, dtype=torch.float64)
    penalties = torch.zeros(stop, size, dtype=torch.float64)
    for i in range(stop):
        record = trajectory.step(i)
        sign = torch.cat([torch.full((n,), -1.0 if record.maximize[g] else 1.0) for g, n in _parts(layout)])
        factors = [record.clip_factor if record.clip_uniform else factor for factor in record.clip_factors]
        clip = torch.cat(
            [torch.full((n,), c, dtype=torch.float64) for n, c in zip(layout.sizes, factors, strict=True)]
        )
        entries = trajectory.clip_entries(i)
        if entries is not None:  # clipped entry by entry: c is a diagonal
            clip = entries.double()
        theta = _named(layout, trajectory.parameters(i))
        for k, g in sample_gradient(theta, i).items():
            gradients[i, k] = sign.double() * clip * g.double()
        if penalty is not None and trajectory.penalty(i):
            slope = _jacobian(
                lambda theta: penalty(theta)[None, None], layout, trajectory.parameters(i).double()
            )
            penalties[i] = sign.double() * clip * trajectory.penalty(i) * slope[0, 0]

    influence, regularization, carried, penalized = [], [], [], []
    worst = 0.0
    sample = value(_named(layout, trajectory.parameters(0)))
    seen_total = torch.zeros(stop, size, train, *sample.shape, dtype=torch.float64)
    for s in range(start, stop):
        # A[i] such that the part of u_s that is due to d_i is −A[i] ⊙ d_i, and the same for the initial buffer
        weights, initial_weight, decay = _unrolled(trajectory, s)
        theta_s, theta_next = trajectory.parameters(s).double(), trajectory.parameters(s + 1).double()
        phi_train = weights[:, None, :] * gradients[: s + 1]  # [i, N, D]
        r = decay["decoupled"] * theta_s
        for i in range(s + 1):
            r = r + weights[i] * decay["coupled"][i] * trajectory.parameters(i).double()
        inherited = initial_weight * trajectory.initial_buffer.double()
        pulled = (weights * penalties[: s + 1]).sum(0)
        u = theta_next - theta_s
        worst = max(worst, float((u + phi_train.sum((0, 1)) + r + inherited + pulled).abs().max()))

        share = 1.0 if average is None else float(sum(average[s + 1 :]))
        origin = _point(trajectory, s, average)
        phi_test = torch.zeros(
            *sample.shape, size, dtype=torch.float64
        )  # Φ_s, times what the average has of u_s, [X, O, D]
        for t, w in zip(position, weight, strict=True):
            phi_test += w * share * _jacobian(value, layout, origin + t * share * u)
        by_parameter = phi_test.permute(2, 0, 1)  # [D, X, O]
        each = -torch.einsum("dxo,ind->idnxo", by_parameter, phi_train)
        influence.append(each.sum(0))
        seen_total[: s + 1] += each
        regularization.append(-by_parameter * r[:, None, None])
        carried.append(-by_parameter * inherited[:, None, None])
        penalized.append(-by_parameter * pulled[:, None, None])
    with torch.no_grad():
        initial, final = (value(_named(layout, _point(trajectory, at, average))) for at in (start, stop))
    return ReferenceTensors(
        torch.stack(influence),
        seen_total,
        torch.stack(regularization),
        torch.stack(carried),
        torch.stack(penalized),
        initial.double(),
        final.double(),
        worst,
    )


def _point(trajectory: Trajectory, s: int, average: Sequence[float] | None) -> Tensor:
    """θ_s, or on the way to an average θ_0 + Σ_{i<s} (Σ_{t>i} a_t) u_i."""
    if average is None:
        return trajectory.parameters(s).double()
    point = trajectory.parameters(0).double()
    for i in range(s):
        u = trajectory.parameters(i + 1).double() - trajectory.parameters(i).double()
        point = point + float(sum(average[i + 1 :])) * u
    return point


def model_value(model: nn.Module, inputs: Tensor) -> Callable[[dict[str, Tensor]], Tensor]:
    """f(x)_j of a model as a function of its parameters by name."""
    return lambda theta: functional_call(model, theta, (inputs,))


def _parts(layout) -> list[tuple[int, int]]:
    return list(zip(layout.group, layout.sizes, strict=True))


def _named(layout, flat: Tensor) -> dict[str, Tensor]:
    return {n: v.double() for n, v in layout.unflatten(flat).items()}


def _jacobian(value: Callable[[dict[str, Tensor]], Tensor], layout, flat: Tensor) -> Tensor:
    """∂value/∂θ at one θ, [X, O, D]."""
    return torch.autograd.functional.jacobian(lambda v: value(layout.unflatten(v)), flat)


def _gauss_legendre(nodes: int) -> tuple[Tensor, Tensor]:
    import numpy as np

    x, w = np.polynomial.legendre.leggauss(nodes)
    return torch.tensor((x + 1) / 2), torch.tensor(w / 2)


def _unrolled(trajectory: Trajectory, s: int) -> tuple[Tensor, Tensor, dict]:
    """The weights A[i] [s+1, D] of d_i in −u_s, the weight [D] of the initial buffer, and both decays."""
    layout = trajectory.layout
    size = layout.size
    weights = torch.zeros(s + 1, size, dtype=torch.float64)
    initial = torch.zeros(size, dtype=torch.float64)
    coupled = torch.zeros(s + 1, size, dtype=torch.float64)
    decoupled = torch.zeros(size, dtype=torch.float64)
    record = trajectory.step(s)
    begin = 0
    for tensor, (g, n) in enumerate(_parts(layout)):
        part = slice(begin, begin + n)
        begin += n
        # Updates that found no gradient of this tensor did not touch it, its buffer or its counter.
        acted = [i for i in range(s + 1) if all(trajectory.step(i).active[tensor : tensor + 1])]
        if s not in acted:
            continue
        # What came before the optimizer's state was last emptied does not act any more.
        begun = max((i for i in range(s + 1) if tensor in trajectory.step(i).reset), default=0)
        emptied = tensor in trajectory.step(begun).reset
        acted = [i for i in acted if i >= begun]
        lr, lam = record.lr[g], record.weight_decay[g]
        optimizer = trajectory.rules[g]
        if optimizer in ("Adam", "AdamW"):
            t = record.counts[tensor] if record.counts else record.count
            v = trajectory.second_moment(s).double()[part]
            p = 1 / ((v / (1 - record.beta2[g] ** t)).sqrt() + record.eps[g])
            past = 1.0
            for i in reversed(acted):
                beta = trajectory.step(i).beta1[g]
                weights[i, part] = p * lr / (1 - record.beta1[g] ** t) * (1 - beta) * past
                past *= beta
                if optimizer == "Adam":
                    coupled[i, part] = trajectory.step(i).weight_decay[g]
            initial[part] = 0.0 if emptied else p * lr / (1 - record.beta1[g] ** t) * past
            if optimizer == "AdamW":
                decoupled[part] = lr * lam
            continue
        if optimizer != "SGD":  # the others have a definition of their own, explaind.reference.optimizers
            raise ValueError(f"This definition knows Adam, AdamW and SGD, not {optimizer}.")
        mu = record.momentum[g]
        past = 1.0
        for i in reversed(acted):
            earlier = trajectory.step(i)
            coupled[i, part] = earlier.weight_decay[g]
            if mu == 0:
                weights[i, part] = lr if i == s else 0.0
                continue
            before = trajectory.manifest.get("initial_counts", [trajectory.initial_count] * (tensor + 1))[
                tensor
            ]
            fresh = i == acted[0] and (emptied or before == 0)
            enters = (1.0 if fresh else 1 - earlier.dampening[g]) * past
            if record.nesterov[g]:
                weights[i, part] = lr * mu * enters + (lr if i == s else 0.0)
            else:
                weights[i, part] = lr * enters
            past *= earlier.momentum[g]
        if mu != 0 and not emptied:
            initial[part] = lr * (mu if record.nesterov[g] else 1.0) * past
    return weights, initial, {"coupled": coupled, "decoupled": decoupled}
