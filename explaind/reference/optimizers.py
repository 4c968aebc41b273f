"""Textbook updates, one function each, in float64: the definition for the optimizers of `explaind.optimizers`, sharing no code.

Each is written for one tensor θ and for *rows*: the gradient as a sum, one row for each training sample, and one more row for
what weight decay contributes. Everything that is linear in the gradient (momentum) is kept row by row; everything that is not
(second moments, signs, norms) is computed from the sum of the rows. The result is the update as the same sum.

    rows [N+1, *θ.shape] → u [N+1, *θ.shape],    rows.sum(0) = d,    u.sum(0) = θ_{s+1} − θ_s

State is a dict that starts empty; t counts updates from 1; o holds the options by torch's names.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

State = dict[str, Any]
Update = Callable[[State, Tensor, Tensor, dict[str, Any], int], Tensor]


def rmsprop(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Tieleman and Hinton 2012; centered as in Graves 2013; torch's momentum."""
    rows = _coupled(rows, theta, o)
    d = rows.sum(0)
    v = state["v"] = o["alpha"] * state.get("v", 0.0) + (1 - o["alpha"]) * d * d
    mean = state["mean"] = o["alpha"] * state.get("mean", 0.0) + (1 - o["alpha"]) * d
    if o["centered"]:
        v = v - mean * mean
    divided = rows / (v.sqrt() + o["eps"])
    if o["momentum"] == 0:
        return -o["lr"] * divided
    state["b"] = o["momentum"] * state.get("b", 0.0) + divided
    return -o["lr"] * state["b"]


def adagrad(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Duchi et al. 2011, with torch's decay of the learning rate."""
    rows = _coupled(rows, theta, o)
    d = rows.sum(0)
    state["sum"] = state.get("sum", o["initial_accumulator_value"]) + d * d
    rate = o["lr"] / (1 + (t - 1) * o["lr_decay"])
    return -rate * rows / (state["sum"].sqrt() + o["eps"])


def adadelta(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Zeiler 2012, algorithm 1."""
    rows = _coupled(rows, theta, o)
    d = rows.sum(0)
    v = state["v"] = o["rho"] * state.get("v", 0.0) + (1 - o["rho"]) * d * d
    a = state.get("a", torch.zeros_like(theta))
    delta = (a + o["eps"]).sqrt() / (v + o["eps"]).sqrt() * rows
    state["a"] = o["rho"] * a + (1 - o["rho"]) * delta.sum(0) ** 2
    return -o["lr"] * delta


def adamax(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Kingma and Ba 2015, section 7.1; torch adds ε inside the maximum."""
    rows = _coupled(rows, theta, o)
    one, two = o["betas"]
    m = state["m"] = one * state.get("m", 0.0) + (1 - one) * rows
    earlier = state.get("w", torch.zeros_like(theta))
    state["w"] = torch.maximum(two * earlier, rows.sum(0).abs() + o["eps"])
    return -o["lr"] / (1 - one**t) * m / state["w"]


def amsgrad(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Reddi et al. 2018; torch corrects the bias after the maximum."""
    m, v, decay = _adam(state, rows, theta, o)
    one, two = o["betas"]
    top = state["top"] = torch.maximum(state.get("top", torch.zeros_like(theta)), v)
    return decay - o["lr"] / (1 - one**t) * m / (top.sqrt() / (1 - two**t) ** 0.5 + o["eps"])


def nadam(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Dozat 2016, with the schedule of the momentum that torch uses."""
    m, v, decay = _adam(state, rows, theta, o)
    one, two = o["betas"]
    now, following = (one * (1 - 0.96 ** (i * o["momentum_decay"]) / 2) for i in (t, t + 1))
    product = state["product"] = state.get("product", 1.0) * now
    entering = state["entering"]
    direction = (1 - now) / (1 - product) * entering + following / (1 - product * following) * m
    return decay - o["lr"] * direction / ((v / (1 - two**t)).sqrt() + o["eps"])


def radam(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Liu et al. 2020, algorithm 2; torch's place of ε."""
    m, v, decay = _adam(state, rows, theta, o)
    one, two = o["betas"]
    step = o["lr"] * m / (1 - one**t)
    most = 2 / (1 - two) - 1
    length = most - 2 * t * two**t / (1 - two**t)
    if length <= 5:
        return decay - step
    rectified = ((length - 4) * (length - 2) * most / ((most - 4) * (most - 2) * length)) ** 0.5
    return decay - step * rectified * (1 - two**t) ** 0.5 / (v.sqrt() + o["eps"])


def asgd(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Polyak and Juditsky 1992: the step size that falls, and a decay of its own."""
    rows = _coupled(rows, theta, o)
    rate = o["lr"] if t == 1 else o["lr"] / (1 + o["lambd"] * o["lr"] * (t - 1)) ** o["alpha"]
    return _decayed(-rate * rows, theta, o["lambd"] * rate)


def adafactor(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Shazeer and Stern 2018, algorithms 4 and 5, as torch has them."""
    d = rows.sum(0)
    rate = t ** o["beta2_decay"]
    least, relative = o["eps"]
    if d.dim() > 1:
        r = state["r"] = (1 - rate) * state.get("r", 0.0) + rate * (d * d).mean(-1, keepdim=True)
        c = state["c"] = (1 - rate) * state.get("c", 0.0) + rate * (d * d).mean(-2, keepdim=True)
        v = r * c / r.mean(-2, keepdim=True).clamp(min=least)
    else:
        v = state["v"] = (1 - rate) * state.get("v", 0.0) + rate * d * d
    update = rows / v.clamp(min=least**2).sqrt()
    clipped = update / max(1.0, float(update.sum(0).square().mean().sqrt()) / o["d"])
    step = max(relative, float(theta.square().mean().sqrt())) * min(o["lr"], t**-0.5)
    return _decayed(-step * clipped, theta, o["lr"] * o["weight_decay"])


def lion(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Chen et al. 2023, algorithm 2."""
    one, two = o["betas"]
    b = state.get("b", torch.zeros_like(rows))
    c = one * b + (1 - one) * rows
    state["b"] = two * b + (1 - two) * rows
    return _decayed(-o["lr"] * _over_size(c), theta, o["lr"] * o["weight_decay"])


def signum(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """Bernstein et al. 2018, algorithm 2; without momentum signSGD, algorithm 1."""
    state["b"] = o["momentum"] * state.get("b", 0.0) + (1 - o["momentum"]) * rows
    return _decayed(-o["lr"] * _over_size(state["b"]), theta, o["lr"] * o["weight_decay"])


def lamb(state: State, rows: Tensor, theta: Tensor, o: dict[str, Any], t: int) -> Tensor:
    """You et al. 2020, algorithm 2; the trust ratio is 1 where either norm is 0."""
    m, v, _ = _adam(state, rows, theta, {**o, "weight_decay": 0.0})
    one, two = o["betas"]
    direction = m / (1 - one**t) / ((v / (1 - two**t)).sqrt() + o["eps"])
    direction = _decayed(direction, theta, -o["weight_decay"])
    weights, moves = theta.norm(), direction.sum(0).norm()
    trust = float(weights / moves) if weights > 0 and moves > 0 else 1.0
    return -o["lr"] * trust * direction


def path(
    update: Update,
    options: Callable[[int], dict[str, Any]],
    theta: dict[str, Tensor],
    gradients: Callable[[dict[str, Tensor], int], dict[str, Tensor]],
    steps: int,
) -> Iterator[tuple[dict[str, Tensor], dict[str, Tensor]]]:
    """A whole training run: θ_s by name, and its update as rows [N+1, …] by name.

    Args:
        update: one of this module's functions.
        options: s → the options of update s.
        theta: θ_0 by name.
        gradients: (θ_s, s) → the gradient of each training sample in the batch loss, with its sign and clipping, [N, …] by name.
        steps: how many updates.
    """
    states: dict[str, State] = {name: {} for name in theta}
    for s in range(steps):
        rows = gradients(theta, s)
        moves = {}
        for name, value in theta.items():
            with_decay = torch.cat([rows[name], torch.zeros_like(value)[None]])
            moves[name] = update(states[name], with_decay, value, options(s), s + 1)
        yield theta, moves
        theta = {name: value + moves[name].sum(0) for name, value in theta.items()}


def _coupled(rows: Tensor, theta: Tensor, o: dict[str, Any]) -> Tensor:
    """Weight decay enters the gradient: λ θ in the last row."""
    return _decayed(rows, theta, -o["weight_decay"])


def _decayed(rows: Tensor, theta: Tensor, rate: float) -> Tensor:
    """− rate θ added to the last row."""
    return torch.cat([rows[:-1], rows[-1:] - rate * theta])


def _over_size(rows: Tensor) -> Tensor:
    """sign(Σ rows) as a sum: each row over |Σ rows|, 0 where that is 0."""
    size = rows.sum(0).abs()
    return torch.where(size > 0, rows / torch.where(size > 0, size, 1.0), 0.0)


def _adam(
    state: State, rows: Tensor, theta: Tensor, o: dict[str, Any]
) -> tuple[Tensor, Tensor, Tensor | float]:
    """Both moments of Adam, the first by rows, and the rows of decoupled decay; the entering rows are in the state."""
    decoupled = o.get("decoupled_weight_decay", False)
    rows = rows if decoupled else _coupled(rows, theta, o)
    decay = _decayed(torch.zeros_like(rows), theta, o["lr"] * o["weight_decay"] if decoupled else 0.0)
    one, two = o["betas"]
    d = rows.sum(0)
    m = state["m"] = one * state.get("m", 0.0) + (1 - one) * rows
    v = state["v"] = two * state.get("v", 0.0) + (1 - two) * d * d
    state["entering"] = rows
    return m, v, decay
