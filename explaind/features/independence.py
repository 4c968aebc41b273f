"""A sample's output may depend on that sample alone. This is looked at, not assumed.

Outputs of all samples are computed twice, in batches of different neighbours: a mean over the batch, attention across it, or noise shows.
Gradients of a few samples are computed together and alone, and once in forward mode: what mixes in the backward pass only
(`Embedding(scale_grad_by_freq=True)`), or a backward pass that is not the derivative, shows there.

Agreement is asked for up to `AGREES` of the largest output, far above the rounding of other batch sizes (about 1e-6 in float32 and
1e-15 in float64 on the models of the experiments) and far below what mixing does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from explaind.errors import QueryError
from explaind.features.samples import Samples

AGREES = {torch.float32: 1e-4, torch.float64: 1e-8}
TOGETHER = 64  # samples of one batch
FEW = 4  # samples whose gradients are compared

Value = Callable[[Mapping[str, Tensor], Tensor, Tensor | None], Tensor]


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
    if count == 1:
        x, y = samples.take(slice(0, 1))
        other = 0.5 * x - 0.3 if x.is_floating_point() else torch.full_like(x, int(x.flatten()[0]))
        with torch.no_grad():
            alone = value(theta, x, y)
            among = value(theta, torch.cat([x, other]), None if y is None else torch.cat([y, y]))[:1]
        _compare(among, alone, torch.zeros(1, dtype=torch.long), name)
        return
    size = min(TOGETHER, count)
    half = max(1, size // 2)
    for start in range(0, count, size):
        index = torch.arange(start, min(start + size, count))
        with torch.no_grad():
            together = value(theta, *samples.take(index))
            apart = torch.cat([value(theta, *samples.take(part)) for part in index.flip(0).split(half)])
        _compare(together, apart.flip(0), index, name)


def check_gradients(
    model: Callable[[Mapping[str, Tensor], Tensor], Tensor],
    theta: Mapping[str, Tensor],
    inputs: Tensor,
    *,
    name: str,
) -> None:
    """Compare gradients of a few samples, together and alone, in reverse and in forward mode.

    Args:
        model: (θ by name, inputs [n, …]) → outputs [n, …].
        theta: parameters to look at.
        inputs: of the samples; the first few are used, each twice.
        name: of the samples, for the message.

    Raises:
        QueryError: they differ.
    """
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
    if not _close(_size([a - b for a, b in zip(together, alone, strict=True)]), scale, few, theta):
        raise _mixes(
            f"The gradients of {name} samples depend on the other samples of the batch.",
            "the gradient of a batch that is the sum of the gradients of its samples",
            "another sum, though the outputs may agree",
        )
    direction = {key: torch.cos(torch.arange(p.numel(), device=p.device, dtype=p.dtype)).reshape(p.shape) for key, p in parameters.items()}  # fmt: skip
    try:
        with torch.no_grad():
            outputs, tangent = torch.func.jvp(lambda p: model(p, few), (parameters,), (direction,))
    except (NotImplementedError, RuntimeError):
        return  # said by the algorithm that needs it, if one does
    forward = float((tangent * _weights(outputs)).sum())
    reverse = float(sum((g * d).sum() for g, d in zip(pushed(few), direction.values(), strict=True)))
    if not _close(abs(forward - reverse), scale * _size(list(direction.values())), few, theta):
        raise _mixes(
            "The backward pass of the model is not the derivative of its forward pass.",
            f"a directional derivative of {forward:.6g}, as in forward mode",
            f"{reverse:.6g} in reverse mode",
        )


def _weights(outputs: Tensor) -> Tensor:
    """Fixed cotangents, the same for each sample, so that no output cancels another."""
    each = torch.arange(1, outputs[0].numel() + 1, device=outputs.device, dtype=outputs.dtype)
    return torch.sin(each).reshape(outputs[0].shape)


def _size(parts: list[Tensor]) -> float:
    return float(torch.linalg.vector_norm(torch.cat([part.detach().reshape(-1) for part in parts])))


def _close(difference: float, scale: float, inputs: Tensor, theta: Mapping[str, Tensor]) -> bool:
    dtype = next(iter(theta.values())).dtype if theta else inputs.dtype
    return difference <= AGREES.get(dtype, 1e-4) * scale


def _compare(together: Tensor, apart: Tensor, index: Tensor, name: str) -> None:
    if together.shape != apart.shape:
        return  # the shapes of values are checked where they are read
    difference = (together - apart).abs()
    limit = AGREES.get(together.dtype, 1e-4) * max(float(together.abs().max()), float(apart.abs().max()))
    worst = float(difference.max()) if difference.numel() else 0.0
    if worst <= limit:
        return
    row, column = divmod(int(difference.flatten(1).argmax()), difference[0].numel())
    raise _mixes(
        f"The value of {name} sample {int(index[row])} depends on the other samples of the batch, or on chance.",
        f"{float(together.flatten(1)[row, column]):.8g} whatever is evaluated with it",
        f"{float(apart.flatten(1)[row, column]):.8g} among others",
    )


def _mixes(problem: str, expected: str, got: str) -> QueryError:
    return QueryError(
        problem,
        expected=expected,
        got=got,
        remedy="Explained models treat each sample alone and without chance: use LayerNorm or GroupNorm for statistics of a batch, "
        "scale_grad_by_freq=False, and dropout modules in place of functional dropout that is always on.",
    )
