"""Is the loss of a sample a function of the parameters and of that sample alone? Tried before any expensive work.

With the first and the last sample a, b of the training and of the held-out ones, at the checkpoint's parameters:

- the losses of (a, b) twice from the same buffers: equal, and no generator of random numbers was used; else something is random;
- once more from the buffers that a forward pass leaves, if it changes any: equal, else the loss depends on them;
- (b, b): the same loss of b, else it depends on its neighbour; (b, a), and each alone: the same up to rounding;
- the gradient of (a, a) is that of a: else gradients of samples do not add up to the batch's;
- parameters and samples are as before.

That is at most twelve forward passes of one sample for each of both, and three forward and backward passes. `check_again` then
evaluates every training sample once more, among other neighbours: one forward pass over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from explaind.errors import DataError, ExplaindError, QueryError
from explaind.features.outputs import describe, entry, returned_by
from explaind.updates.checks import Pure
from explaind.updates.path import Losses, add_gradient, measure
from explaind.updates.preserve import Buffers, Generators, same
from explaind.updates.rounding import beyond_reordering, beyond_rounding, module_precisions, repeats

__all__ = ["Rehearsal", "rehearse"]

ALONE = "a function of the parameters and of the sample alone"


class Rehearsal:
    """The result of trying: `losses`, to evaluate with, and the coarsest precision of what was computed, `eps`."""

    def __init__(self, losses: Pure, eps: float) -> None:
        self.losses, self.eps = losses, eps

    def check_again(self, model: nn.Module, train: Tensor, known: Tensor, samples_per_pass: int) -> None:
        """Evaluate the training samples once more, in reverse order and in passes of half the size.

        Raises:
            QueryError: one of them has another loss than in `known` [n], beyond rounding.
        """
        size = max(1, min(samples_per_pass, len(train)) // 2)
        again = measure(model, self.losses, train.flip(0), size).flip(0)
        off = beyond_rounding(known, again, self.eps)
        if off.any():
            at = int(off.nonzero()[0])
            raise _mixed(
                f"training sample {at} evaluated among other samples", float(known[at]), float(again[at])
            )


def rehearse(
    model: nn.Module,
    losses: Losses,
    train: Tensor,
    heldout: Tensor,
    start: Mapping[str, Tensor],
    buffers: Buffers,
) -> Rehearsal:
    """Try the loss function on a few samples.

    Args:
        model: at the checkpoint.
        losses: the user's loss function.
        train, heldout: all samples.
        start: θ by name.
        buffers: of the model, before any forward pass.

    Raises:
        DataError: it fails, returns something else than a loss for each sample, or changes its samples.
        QueryError: a loss is no function of parameters and sample alone.
    """
    pure = Pure(losses, buffers)
    eps = max(torch.finfo(p.dtype).eps for p in model.parameters() if p.is_floating_point())
    with torch.no_grad():
        for role, samples in (("training", train), ("held-out", heldout)):
            eps = _try(model, pure, role, samples, buffers, eps)
            for name, parameter in model.named_parameters():
                if name in start and not same(parameter, start[name].to(parameter.dtype)):
                    raise QueryError(
                        f"The forward pass changes the parameter {name}, which only the optimizer may move.",
                        expected=f"a loss that is {ALONE}, and changes neither",
                        got="other values after it",
                        remedy="Constrain parameters outside of the forward pass, or by a parametrization.",
                    )
    _try_gradient(model, pure, train[:1], eps)
    return Rehearsal(pure, eps)


def _try(model: nn.Module, pure: Pure, role: str, samples: Tensor, buffers: Buffers, eps: float) -> float:
    """All comparisons of losses; the coarsest eps that was computed in."""
    pair = samples[[0, -1]]
    kept = pair.clone()
    generators = Generators(model)
    with module_precisions(model) as precisions:
        one = _run(pure, model, pair, f"the first and the last {role} sample together")
    eps = max(eps, torch.finfo(one.dtype).eps, *precisions)
    if not same(pair, kept):
        raise DataError(
            "The loss function changes the samples that it is given.",
            expected="samples that are only read",
            remedy="Copy them before changing them in place.",
        )
    changed = buffers.changed()
    pure.moving, known = False, pure.moving
    from_changed = pure(model, pair)
    pure.moving = known or bool(changed)
    two = pure(model, pair) if changed else from_changed
    drew = generators.drew()
    if drew or not repeats(one, two, eps):
        raise QueryError(
            "The loss of a sample differs between two evaluations with the same parameters.",
            expected=f"a loss that is {ALONE}, without randomness",
            got=f"{_numbers(one)}, then {_numbers(two)} for the same two {role} samples"
            + (", and random numbers were drawn" if drew else ""),
            remedy="Switch off what is random, also functional dropout (training=False), and what the model remembers of calls.",
        )
    if changed and not repeats(two, from_changed, 0.0 if same(one, two) else eps):
        raise QueryError(
            f"The loss of a sample depends on a buffer that the forward pass changes: {', '.join(changed[:3])}.",
            expected=f"a loss that is {ALONE}, the same at every evaluation",
            got=f"{_numbers(two)}, then {_numbers(from_changed)} for the same two {role} samples",
            remedy="Call .eval() on the module that keeps this buffer, or let it not be updated.",
        )
    beside = pure(model, pair[[1, 1]])
    if beyond_reordering(one[1], beside[1], eps).any():
        raise _mixed(f"the last {role} sample beside another one", float(one[1]), float(beside[1]))
    turned = pure(model, pair.flip(0)).flip(0)
    alone = torch.cat([_run(pure, model, pair[k : k + 1], f"one {role} sample alone") for k in (0, 1)])
    for other, how in ((turned, "in another order"), (alone, "alone")):
        off = beyond_rounding(one, other, eps)
        if off.any():
            at = int(off.nonzero()[0])
            raise _mixed(f"the {('first', 'last')[at]} {role} sample {how}", float(one[at]), float(other[at]))
    return eps


def _try_gradient(model: nn.Module, pure: Pure, sample: Tensor, eps: float) -> None:
    """The mean loss of a sample and its copy has the gradient of the sample; compared by three numbers of each tensor."""
    parameters = dict(model.named_parameters())
    fingerprints: list[dict[str, Tensor]] = []
    for samples in (sample, torch.cat([sample, sample])):
        prints: dict[str, Tensor] = {}

        def use(name: str, gradient: Tensor, prints: dict[str, Tensor] = prints) -> None:
            prints[name] = _fingerprint(gradient, parameters[name].detach())

        _run(lambda m, x, use=use: add_gradient(m, pure, x, 2, use), model, samples, "a backward pass")
        fingerprints.append(prints)
    one, two = fingerprints
    size = sum(float(numbers[0]) ** 2 for numbers in one.values()) ** 0.5
    off = [float((numbers - two.get(name, 0.0)).abs().max()) for name, numbers in one.items()]
    if set(one) != set(two) or max(off, default=0.0) > 4 * eps**0.5 * size:
        raise QueryError(
            "The gradient of a sample depends on the other samples of its batch.",
            expected="a sample and its copy to have the mean gradient of the sample",
            got=f"a difference of at least {max(off, default=0.0):.2g} for a norm of {size:.2g}",
            remedy="Look for options such as scale_grad_by_freq, and for custom backward passes.",
        )


def _fingerprint(gradient: Tensor, theta: Tensor) -> Tensor:
    """‖g‖, Σ g / √size and ⟨g, θ⟩ / ‖θ‖, none of them above ‖g‖: no copy of the gradients needs to be kept."""
    kept = {"dtype": torch.float64}
    norms = [torch.linalg.vector_norm(part, **kept) for part in (gradient, theta)]
    along = (gradient * theta).sum(**kept) / norms[1].clamp_min(1e-300)
    return torch.stack([norms[0], gradient.sum(**kept) / max(1, gradient.numel()) ** 0.5, along]).cpu()


def _run(call: Callable[..., Any], model: nn.Module, samples: Tensor, what: str) -> Any:
    try:
        return call(model, samples)
    except ExplaindError:
        raise
    except Exception as error:
        outputs = returned_by(model, lambda: call(model, samples))
        # Of a loss that takes the tensor out by itself, the output is not what is wrong.
        misused = isinstance(error, AttributeError) or type(outputs).__name__ in str(error)
        if outputs is not None and not isinstance(outputs, Tensor) and misused:
            raise DataError(
                f"The loss function fails on {what}, and the model does not return one tensor.",
                expected="losses(model, samples) to return the loss of each sample",
                got=f"{describe(outputs)}, and {type(error).__name__}: {error}".partition("\n")[0],
                remedy=f"Take the tensor out of it in losses: model(inputs){entry(outputs)}",
            ) from error
        raise DataError(
            f"The loss function fails on {what}.",
            expected="losses(model, samples) to return the loss of each sample, for any number of samples",
            got=f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no message'}",
            remedy="Check dtype, shape and device of the samples, and that the model needs no more than one sample at a time.",
        ) from error


def _mixed(what: str, one: float, two: float) -> QueryError:
    return QueryError(
        "The loss of a sample depends on the other samples of its batch, so contributions would depend on the order of samples.",
        expected=f"a loss that is {ALONE}",
        got=f"{one:.8g}, and {two:.8g} for {what}",
        remedy="Look for statistics over the batch axis, such as a mean over axis 0, and use fixed ones.",
    )


def _numbers(losses: Tensor) -> str:
    return ", ".join(f"{value:.8g}" for value in losses.tolist())
