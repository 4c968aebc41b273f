"""Recurrent layers, PReLU, RReLU and weight norm in plain operations: torch's fused kernels lack forward-mode or vmap rules.

Each function is the forward pass of one torch module, with its parameters under their own names, equal to it up to rounding.
Dropout between layers draws what torch's does.

Shapes: T time steps, n sequences, H hidden entries, C channels; unbatched inputs lack n, as in torch.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import _WeightNorm
from torch.nn.utils.weight_norm import WeightNorm

from explaind.errors import QueryError

State = tuple[Tensor, ...]
"""(h [n, H],), and for an LSTM (h, c)."""
Step = Callable[[Tensor, State], State]
"""(W_ih x + b_ih [n, gates · H], state) → the next state."""


def use_plain_layers(model: nn.Module) -> None:
    """Let recurrent layers, their cells, PReLU, RReLU and weight norm in `model` compute with plain operations, from now on.

    Subclasses are included unless they have a forward pass of their own.
    """
    for module in model.modules():
        if isinstance(module, nn.Embedding | nn.EmbeddingBag):
            module.sparse = False  # the same gradient, in a layout that functions of gradients have
        for kind, forward in _FORWARD.items():
            if isinstance(module, kind) and type(module).forward is kind.forward:
                module.forward = partial(forward, module)
        for hook in module._forward_pre_hooks.values():
            if type(hook) is WeightNorm:
                hook.__class__ = _PlainWeightNorm


class _PlainWeightNorm(WeightNorm):
    """torch.nn.utils.weight_norm, the older one, which is a hook."""

    def compute_weight(self, module: nn.Module) -> Tensor:
        magnitude, direction = (getattr(module, self.name + part) for part in ("_g", "_v"))
        return _scaled(magnitude, direction, self.dim)


def weight_norm(module: _WeightNorm, magnitude: Tensor, direction: Tensor) -> Tensor:
    """torch.nn.utils.parametrizations.weight_norm, the newer one."""
    return _scaled(magnitude, direction, module.dim)


def _scaled(magnitude: Tensor, direction: Tensor, dim: int) -> Tensor:
    """direction · magnitude / its norm over all axes but `dim` (over all of them for −1)."""
    axes = [axis for axis in range(direction.dim()) if dim == -1 or axis != dim]
    return direction * (magnitude / direction.square().sum(axes, keepdim=dim != -1).sqrt())


def prelu(module: nn.PReLU, x: Tensor) -> Tensor:
    """x where it is positive, else the slope of its channel (axis 1) times x."""
    slope = module.weight
    if slope.numel() > 1:
        slope = slope.reshape(-1, *(1,) * (x.dim() - 2))
    return torch.where(x > 0, x, slope * x)


def embedding(module: nn.Embedding, x: Tensor) -> Tensor:
    """Rows of the weight. That of `padding_idx` is one of them, but its gradient is dropped."""
    weight, padding = module.weight, module.padding_idx
    if padding is None or module.max_norm is not None or module.scale_grad_by_freq or module.sparse:
        return type(module).forward(module, x)
    learns = torch.arange(len(weight), device=weight.device).unsqueeze(1) != padding
    return F.embedding(x, torch.where(learns, weight, weight.detach()))


def without_padding(model: nn.Module) -> bool:
    """Let the rows that embeddings keep for padding have a derivative like all others; were there any?"""
    found = False
    for module in model.modules():
        if isinstance(module, nn.Embedding) and module.padding_idx is not None:
            module.padding_idx, found = None, True
    return found


def rrelu(module: nn.RReLU, x: Tensor) -> Tensor:
    """Negative entries times a slope: the mean of its range in evaluation mode, a random one in training mode."""
    if module.training:
        return F.rrelu(x, module.lower, module.upper, True, module.inplace)
    return torch.where(x > 0, x, x * ((module.lower + module.upper) / 2))


def _next(module: nn.Module, w_hh: Tensor, b_hh: Tensor | None, w_hr: Tensor | None = None) -> Step:
    """One time step of the layer, gates in torch's order."""

    def lstm(x: Tensor, state: State) -> State:
        h, c = state
        i, f, g, o = (x + F.linear(h, w_hh, b_hh)).chunk(4, -1)
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
        return (h if w_hr is None else F.linear(h, w_hr)), c

    def gru(x: Tensor, state: State) -> State:
        (h,) = state
        (r, z, n), (hr, hz, hn) = x.chunk(3, -1), F.linear(h, w_hh, b_hh).chunk(3, -1)
        z, n = (z + hz).sigmoid(), (n + (r + hr).sigmoid() * hn).tanh()
        return (n + z * (h - n),)

    def elman(x: Tensor, state: State) -> State:
        summed = x + F.linear(state[0], w_hh, b_hh)
        return (summed.tanh() if module.nonlinearity == "tanh" else summed.relu(),)

    if isinstance(module, nn.LSTM | nn.LSTMCell):
        return lstm
    return gru if isinstance(module, nn.GRU | nn.GRUCell) else elman


def cell(module: nn.RNNCellBase, x: Tensor, hx: Any = None) -> Any:
    """RNNCell, GRUCell or LSTMCell: x [n, inputs] or [inputs] → h, and (h, c) for an LSTM."""
    lstm = isinstance(module, nn.LSTMCell)
    if hx is None:
        hx = x.new_zeros(*x.shape[:-1], module.hidden_size)
        hx = (hx, hx) if lstm else hx
    step = _next(module, module.weight_hh, module.bias_hh)
    after = step(F.linear(x, module.weight_ih, module.bias_ih), tuple(hx) if lstm else (hx,))
    return after if lstm else after[0]


def layers(module: nn.RNNBase, x: Tensor, hx: Any = None) -> tuple[Tensor, Any]:
    """RNN, GRU or LSTM: x [T, n, inputs], or [n, T, inputs] with batch_first → (outputs, last states), as torch shapes them.

    Raises:
        QueryError: a packed sequence.
    """
    if not isinstance(x, Tensor):
        raise QueryError(
            f"The layer {type(module).__name__} is given sequences that are packed.",
            expected="a tensor of sequences",
            got=type(x).__name__,
            remedy="Pad the sequences and mask what follows their ends, instead of packing them.",
        )
    lstm, batched, last = isinstance(module, nn.LSTM), x.dim() == 3, []
    x = x if batched else x.unsqueeze(1)
    x = x.transpose(0, 1) if batched and module.batch_first else x
    given = None if hx is None else tuple(hx) if lstm else (hx,)
    if given is not None and not batched:
        given = tuple(part.unsqueeze(1) for part in given)
    for layer in range(module.num_layers):
        both = []
        for direction in range(2 if module.bidirectional else 1):
            row = len(last)
            start = _zeros(module, x) if given is None else tuple(part[row] for part in given)
            outputs, state = _along(module, f"_l{layer}" + "_reverse" * direction, x, start, bool(direction))
            both.append(outputs)
            last.append(state)
        x = torch.cat(both, -1)
        if layer < module.num_layers - 1:
            x = F.dropout(x, module.dropout, module.training)
    x = x.transpose(0, 1) if batched and module.batch_first else x
    x = x if batched else x.squeeze(1)
    states = tuple(torch.stack(parts) for parts in zip(*last, strict=True))
    states = states if batched else tuple(part.squeeze(1) for part in states)
    return x, states if lstm else states[0]


def _along(module: nn.RNNBase, name: str, x: Tensor, state: State, backwards: bool) -> tuple[Tensor, State]:
    """One layer in one direction: x [T, n, inputs] → (outputs [T, n, H], last state)."""
    weight = {key: getattr(module, key + name, None) for key in ("bias_ih", "bias_hh", "weight_hr")}
    step = _next(module, getattr(module, "weight_hh" + name), weight["bias_hh"], weight["weight_hr"])
    entering = F.linear(x, getattr(module, "weight_ih" + name), weight["bias_ih"]).unbind(0)
    outputs = []
    for part in reversed(entering) if backwards else entering:
        state = step(part, state)
        outputs.append(state[0])
    return torch.stack(outputs[::-1] if backwards else outputs), state


def _zeros(module: nn.RNNBase, x: Tensor) -> State:
    h = x.new_zeros(x.shape[1], module.proj_size or module.hidden_size)
    return (h, x.new_zeros(x.shape[1], module.hidden_size)) if isinstance(module, nn.LSTM) else (h,)


_FORWARD: dict[type[nn.Module], Callable[..., Any]] = {
    nn.Embedding: embedding,
    nn.PReLU: prelu,
    nn.RReLU: rrelu,
    _WeightNorm: weight_norm,
    nn.RNN: layers,
    nn.GRU: layers,
    nn.LSTM: layers,
    nn.RNNCell: cell,
    nn.GRUCell: cell,
    nn.LSTMCell: cell,
}
