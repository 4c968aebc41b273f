"""A sample's output may depend on that sample alone. This is looked at, not assumed.

Outputs of all samples are computed twice, in batches of different neighbours: a mean over the batch, attention across it, or
noise shows. Gradients of a few samples are computed together, alone, all at once by vmap, and once in forward mode: what mixes in
the backward pass only (`Embedding(scale_grad_by_freq=True)`), or a backward pass that is no derivative, shows there.

Agreement is required up to `AGREES` of the largest output: above the rounding that other batch sizes bring, below what mixing
does. Outputs below `SMALL` are compared as if they were that large: a loss near zero carries the rounding of the logits that it
came from. A gradient jumps where an activation within rounding of a ReLU's or a pooling's edge comes out on the other side; that
is no mixture: gradients that differ in float32 are computed again in float64, where the edge is 10⁹ times narrower.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from explaind.errors import QueryError
from explaind.features.samples import Samples

AGREES = {torch.float32: 1e-4, torch.float64: 1e-8}
TOGETHER = 64  # samples of one batch
SMALL = 1e-2
FEW = 4  # samples whose gradients are compared

Value = Callable[[Mapping[str, Tensor], Tensor, Tensor | None], Tensor]
Model = Callable[[Mapping[str, Tensor], Tensor], Tensor]
Precise = Callable[[], Model]


def check_outputs(value: Value, theta: Mapping[str, Tensor], samples: Samples, *, name: str) -> None:
    """Compare the values of all samples among two sets of neighbours; two forward passes over the samples.

    Args:
        value: (θ by name, inputs [n, …], targets [n, …] or None) → [n, O].
        theta: parameters to look at.
        samples: what is evaluated.
        name: of the samples, for the message.

    Raises:
        QueryError: a value differs.
    """
    count = len(samples)
    size = min(TOGETHER, count)
    half = max(1, size // 2)
    strangers = _strangers(samples)
    for start in range(0, count, size):
        index = torch.arange(start, min(start + size, count))
        with torch.no_grad():
            together = value(theta, *samples.take(index))
            groups = [_beside(value, theta, samples, part, strangers) for part in index.flip(0).split(half)]
        _compare(together, torch.cat(groups).flip(0), index, name)


def _strangers(samples: Samples) -> Tensor:
    """Two inputs [2, …] that differ: of every sample, at least one of them is another. Where all samples are equal, the second
    is made from the first."""
    x = samples.inputs
    other = torch.nonzero((x != x[:1]).reshape(len(x), -1).any(1)).flatten()[:1]
    if len(other):
        return torch.cat([x[:1], x[other]])
    # not a permutation of its entries, which many models do not tell apart
    made = 0.5 * x[:1] - 0.3 if x.is_floating_point() else torch.zeros_like(x[:1]) + x.flatten()[0]
    return torch.cat([x[:1], made])


def _beside(
    value: Value, theta: Mapping[str, Tensor], samples: Samples, index: Tensor, strangers: Tensor
) -> Tensor:
    """Values of the samples in `index`, evaluated with another one, twice: among two samples it alone would change nothing."""
    x, y = samples.take(index)
    stranger = strangers[1:] if torch.equal(x[:1], strangers[:1]) else strangers[:1]
    labels = None if y is None else torch.cat([y, y[:1], y[:1]])
    try:
        return value(theta, torch.cat([x, stranger, stranger]), labels)[: len(index)]
    except (
        IndexError,
        RuntimeError,
        TypeError,
        ValueError,
    ):  # no sample of the user's may be refused for a made one
        return value(theta, torch.cat([x, x[:1], x[:1]]), labels)[: len(index)]


def check_gradients(
    model: Model, theta: Mapping[str, Tensor], inputs: Tensor, *, name: str, precise: Precise | None = None
) -> None:
    """Compare gradients of a few samples, together and alone, in reverse and in forward mode.

    Args:
        model: (θ by name, inputs [n, …]) → outputs [n, …].
        theta: parameters to look at.
        inputs: of the samples; the first few are used, each twice.
        name: of the samples, for the message.
        precise: makes the model in float64, which decides where gradients in float32 differ; None: nothing does.

    Raises:
        QueryError: they differ.
    """
    agrees = AGREES.get(next((part.dtype for part in theta.values()), inputs.dtype), 1e-4)
    try:
        _compare_gradients(model, theta, inputs, name, agrees)
    except QueryError:
        if precise is None or agrees == AGREES[torch.float64]:
            raise
        double = {key: part.double() for key, part in theta.items()}
        inputs = inputs.double() if inputs.is_floating_point() else inputs
        _compare_gradients(precise(), double, inputs, name, agrees)  # parts of the model may round to float32


def _compare_gradients(
    model: Model, theta: Mapping[str, Tensor], inputs: Tensor, name: str, agrees: float
) -> None:
    few = inputs[:FEW]
    twice = torch.cat([few, few])
    parameters = {key: part.detach() for key, part in theta.items()}

    def pushed(x: Tensor) -> list[Tensor]:
        leaves = {key: part.clone().requires_grad_() for key, part in parameters.items()}
        with torch.enable_grad():
            outputs = model(leaves, x)
            total = (outputs * _weights(outputs)).sum()
            return list(torch.autograd.grad(total, list(leaves.values()), materialize_grads=True))

    together = pushed(twice)
    alone = [2 * sum(parts) for parts in zip(*(pushed(one) for one in few.split(1)), strict=True)]
    scale = max(_size(together), _size(alone))
    if not _size([a - b for a, b in zip(together, alone, strict=True)]) <= agrees * scale:  # NaN differs
        raise _mixes(
            f"The gradients of {name} samples depend on the other samples of the batch.",
            "the gradient of a batch that is the sum of the gradients of its samples",
            "another sum, though the outputs may agree",
        )
    _check_vectorised(model, parameters, few, [pushed(one) for one in few.split(1)], name, agrees)
    direction = {key: _waves(part) for key, part in parameters.items()}
    try:
        with torch.no_grad():
            outputs, tangent = torch.func.jvp(lambda p: model(p, few), (parameters,), (direction,))
    except (NotImplementedError, RuntimeError):
        return  # said by the algorithm that needs it, if one does
    forward = float((tangent * _weights(outputs)).sum())
    reverse = float(sum((g * d).sum() for g, d in zip(pushed(few), direction.values(), strict=True)))
    if not abs(forward - reverse) <= agrees * scale * _size(list(direction.values())):
        raise _mixes(
            "The backward pass of the model is not the derivative of its forward pass.",
            f"a directional derivative of {forward:.6g}, as in forward mode",
            f"{reverse:.6g} in reverse mode",
        )


def _check_vectorised(
    model: Model,
    parameters: dict[str, Tensor],
    inputs: Tensor,
    alone: list[list[Tensor]],
    name: str,
    agrees: float,
) -> None:
    """The gradients that vmap gives to single samples are those of the samples alone."""

    def scalar(at: dict[str, Tensor], x: Tensor) -> Tensor:
        outputs = model(at, x.unsqueeze(0))
        return (outputs * _weights(outputs)).sum()

    try:
        with torch.no_grad():
            gradients = torch.func.vmap(torch.func.grad(scalar), in_dims=(None, 0))(parameters, inputs)
    except (NotImplementedError, RuntimeError, QueryError):
        return  # said by the algorithm that needs it, if one does
    scale = max(_size(parts) for parts in alone)
    for k, parts in enumerate(alone):
        difference = [one - each[k] for one, each in zip(parts, gradients.values(), strict=True)]
        if not _size(difference) <= agrees * scale:
            raise _mixes(
                f"The gradient of {name} sample {k} differs where all samples are differentiated at once.",
                "the gradient of the sample alone",
                "another one by torch.func.vmap",
            )


def _waves(like: Tensor) -> Tensor:
    return torch.cos(torch.arange(like.numel(), device=like.device, dtype=like.dtype)).reshape(like.shape)


def _weights(outputs: Tensor) -> Tensor:
    """Fixed cotangents, the same for each sample, so that no output cancels another."""
    each = torch.arange(1, outputs[0].numel() + 1, device=outputs.device, dtype=outputs.dtype)
    return torch.sin(each).reshape(outputs[0].shape)


def _size(parts: list[Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.cat([part.detach().reshape(-1) for part in parts])))


def _compare(together: Tensor, apart: Tensor, index: Tensor, name: str) -> None:
    if together.shape != apart.shape:
        return  # the shapes of values are checked where they are read
    difference = (together - apart).abs().nan_to_num(nan=torch.inf)
    difference[together == apart] = 0  # infinities too
    finite = torch.maximum(together.abs(), apart.abs()).nan_to_num(0.0, posinf=0.0)
    worst = float(difference.max()) if difference.numel() else 0.0
    limit = AGREES.get(together.dtype, 1e-4) * max(SMALL, float(finite.max()) if finite.numel() else 0.0)
    if worst <= limit:
        return
    row, column = divmod(int(difference.argmax()), difference[0].numel())
    raise _mixes(
        f"The value of {name} sample {int(index[row])} depends on the other samples of the batch, or on chance.",
        f"{float(together.reshape(len(together), -1)[row, column]):.8g} whatever is evaluated with it",
        f"{float(apart.reshape(len(apart), -1)[row, column]):.8g} among others",
    )


def _mixes(problem: str, expected: str, got: str) -> QueryError:
    return QueryError(
        problem,
        expected=expected,
        got=got,
        remedy="Explained models treat each sample alone and without chance: use LayerNorm or GroupNorm for statistics, "
        "scale_grad_by_freq=False, and dropout modules in place of functional dropout that is always on.",
    )
