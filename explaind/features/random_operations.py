"""What each random operation of torch draws, and how its result follows from that.

Operations are of four kinds: those that scale their input (dropout, rrelu), those that scale and shift it (alpha dropout),
attention, which drops weights inside, and those whose result is the noise. Each is a function of (source of the noise, the
operation, its arguments): with the same noise, the result is that of torch, and differentiable as torch's is.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from explaind.errors import QueryError
from explaind.recording.forward_passes import generator_state, set_generator_state

Noise = Callable[[Callable[[], Tensor]], Tensor]
"""A function that draws → the noise: what it draws, or what was drawn before."""
Operation = Callable[..., Any]

_ALPHA = 1.7580993408473766  # of SELU, as in torch's alpha_dropout


def _checked(noise: Tensor, like: Tensor) -> Tensor:
    """The noise in the precision of what it meets.

    Raises:
        QueryError: it has another shape.
    """
    if noise.shape != like.shape:
        raise QueryError(
            "The forward pass of one sample draws random numbers of another shape than that of its batch.",
            expected=f"noise of shape {tuple(like.shape)}",
            got=f"{tuple(noise.shape)}",
            remedy="Let shapes depend on the sample alone; or keep other axes than train.",
        )
    return noise.to(like.dtype)


def _scaled(noise: Noise, func: Operation, input: Tensor, p: float, train: bool) -> Tensor:
    """Dropout: torch multiplies by a mask over 1 − p, which is what a tensor of ones becomes."""
    if not train or p == 0:
        return func(input, p, train)
    mask = _checked(noise(lambda: func(torch.ones_like(input), p, True)), input)
    return input.mul_(mask) if func.__name__.endswith("_") else input * mask


def _shifted(noise: Noise, func: Operation, input: Tensor, p: float, train: bool) -> Tensor:
    """Alpha dropout: a · mask · input + b, where b is what zeros become, positive where an entry is kept."""
    if not train or p in (0, 1):
        return func(input, p, train)
    shift = _checked(noise(lambda: func(torch.zeros_like(input), p, True)), input)
    scale = (shift > 0).to(input.dtype) * ((_ALPHA * _ALPHA * p + 1) * (1 - p)) ** -0.5
    if func.__name__.endswith("_"):
        return input.mul_(scale).add_(shift)
    return input * scale + shift


def _slopes(
    noise: Noise,
    func: Operation,
    input: Tensor,
    lower: float = 1 / 8,
    upper: float = 1 / 3,
    training: bool = False,
    generator: Any = None,
) -> Tensor:
    """rrelu: negative entries are scaled by a random slope, drawn for them alone."""
    if not training:
        return func(input, lower, upper, training)

    def draw() -> Tensor:
        slopes = torch.empty_like(input)
        torch._C._nn.rrelu_with_noise(input.detach(), slopes, lower, upper, True, generator)
        return slopes

    slopes = _checked(noise(draw), input)
    return input.mul_(slopes) if func.__name__.endswith("_") else input * slopes


def _attention(
    noise: Noise,
    func: Operation,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **options: Any,
) -> Tensor:
    """Attention drops its weights: [..., queries, keys]."""
    arguments = (attn_mask, dropout_p, is_causal)
    if dropout_p == 0:
        if not torch.is_autocast_enabled(query.device.type):
            return func(query, key, value, *arguments, **options)
        # Torch's own, in half precision, has no derivative under torch.func.
        return _attended(query, key, value, attn_mask, is_causal, None, **options)
    shape = (*query.shape[:-1], key.shape[-2])
    device, building, results = query.device.type, torch.is_grad_enabled(), []

    def draw() -> Tensor:
        # The operation itself gives the result of the run; its weights are drawn again.
        before = generator_state(device)
        with torch.set_grad_enabled(building):
            results.append(func(query, key, value, *arguments, **options))
        after = generator_state(device)
        set_generator_state(device, before)
        weights = torch.dropout(torch.ones(shape, dtype=query.dtype, device=query.device), dropout_p, True)
        if not torch.equal(after, generator_state(device)):
            raise QueryError(
                "Attention draws its dropout in a way that is not replayed.",
                expected="the numbers that dropout of the attention weights draws",
                got="others: a fused kernel",
                remedy="Train with torch.nn.attention.sdpa_kernel(SDPBackend.MATH).",
            )
        return weights

    mask = noise(draw)
    if results:
        return results[0]
    return _attended(query, key, value, attn_mask, is_causal, mask, **options)


def _attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    mask: Tensor | None,
    **options: Any,
) -> Tensor:
    """Attention in plain operations; `mask` is what its weights are multiplied by."""
    weights = _attention_weights(query, key, attn_mask, is_causal, **options)
    if mask is not None:
        weights = weights * _checked(mask, weights)
    if options.get("enable_gqa"):
        value = value.repeat_interleave(query.shape[-3] // value.shape[-3], -3)
    return weights @ value


def _attention_weights(
    query: Tensor,
    key: Tensor,
    attn_mask: Tensor | None,
    is_causal: bool,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """softmax(scale · Q Kᵀ + mask), [..., queries, keys]; rows that may look nowhere are zero."""
    if enable_gqa:
        key = key.repeat_interleave(query.shape[-3] // key.shape[-3], -3)
    root = (query.shape[-1] ** -0.5 if scale is None else scale) ** 0.5
    scores = (query * root) @ (key * root).mT
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
    if attn_mask is None:
        return scores.softmax(-1)
    if attn_mask.dtype == torch.bool:
        attn_mask = torch.where(attn_mask, 0.0, -torch.inf)
    scores = scores + attn_mask.to(scores.dtype)
    nowhere = (scores == -torch.inf).all(-1, keepdim=True)
    return torch.where(nowhere, 0.0, torch.where(nowhere, 0.0, scores).softmax(-1))


def _drawn(noise: Noise, func: Operation, *args: Any, **kwargs: Any) -> Tensor:
    """The result is the noise, in the precision of what is computed."""
    values = noise(lambda: func(*args, **kwargs))
    like = next((a for a in args if isinstance(a, Tensor) and a.is_floating_point()), None)
    dtype = like.dtype if like is not None else torch.get_default_dtype()
    given = kwargs.get("dtype")
    keep = not values.is_floating_point() or (given is not None and given not in (torch.float32, dtype))
    return values.clone() if keep else values.to(dtype, copy=True)


def _filled(noise: Noise, func: Operation, input: Tensor, *args: Any, **kwargs: Any) -> Tensor:
    """A tensor that is filled with random numbers."""
    values = noise(lambda: func(input.detach().clone(), *args, **kwargs))
    return input.copy_(_checked(values, input))


_FILLING = (
    "bernoulli_", "normal_", "uniform_", "exponential_", "random_", "geometric_", "log_normal_", "cauchy_",
)  # fmt: skip
_DRAWING = (
    "rand", "randn", "randint", "rand_like", "randn_like", "randint_like", "randperm", "bernoulli", "normal", "multinomial",
    "poisson", "binomial",
)  # fmt: skip
OPERATIONS: dict[Operation, Callable[..., Any]] = {
    torch.dropout: _scaled,
    torch.dropout_: _scaled,
    torch.feature_dropout: _scaled,
    torch.feature_dropout_: _scaled,
    torch.alpha_dropout: _shifted,
    torch.alpha_dropout_: _shifted,
    torch.feature_alpha_dropout: _shifted,
    torch.feature_alpha_dropout_: _shifted,
    torch.rrelu: _slopes,
    torch.rrelu_: _slopes,
    torch.nn.functional.scaled_dot_product_attention: _attention,
    Tensor.bernoulli: _drawn,
    Tensor.multinomial: _drawn,
    **{getattr(torch, name): _drawn for name in _DRAWING},
    **{getattr(Tensor, name): _filled for name in _FILLING},
}
