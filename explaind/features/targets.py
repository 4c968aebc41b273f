"""Targets: which differentiable function of the model's output is decomposed (Corollary 3.3).

"output"      every output coordinate                                  O columns
"loss"        the loss of each sample alone                            1 column
"margin"      output of the true class − the best other output         1 column
callable      h(outputs [n, …], targets) → [n] or [n, M]               M columns: projections, entropy, one coordinate …
module path   the activation that this module returns, flattened       as many columns as it has entries
(path, h)     h(that activation, flattened [n, A], targets)            M columns, as of a callable
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from explaind.errors import QueryError
from explaind.features.frozen import cast_inside, move_attributes, private_copy
from explaind.features.functional import FunctionalModel, Value

Loss = Callable[[Tensor, Tensor], Tensor]
Target = str | Callable | tuple[str, Callable]
NEED_LABELS = ("loss", "margin")


def make_value(model: FunctionalModel, target: Target, loss: Loss | None) -> Value:
    """The pure function whose change is decomposed, value(θ, inputs [n, …], targets) → [n, O].

    Raises:
        QueryError: "loss" without a loss function, or a module path that the model does not have.
    """
    if isinstance(target, tuple):
        activation, function = _activation(model, target[0]), fit(target[1], model)
        return lambda parameters, x, y: _columns(function(activation(parameters, x, y), y))
    if callable(target):
        target = fit(target, model)
        return lambda parameters, x, y: _columns(target(model(parameters, x), y))
    if target == "output":
        return lambda parameters, x, y: _columns(model(parameters, x))
    if target == "loss":
        if loss is None:
            raise QueryError("The target 'loss' needs a loss function.", remedy="Pass loss_fn.")
        return lambda parameters, x, y: sample_losses(loss, model(parameters, x), y).unsqueeze(-1)
    if target == "margin":
        return lambda parameters, x, y: _margin(model(parameters, x), y)
    return _activation(model, target)


def fit(function: Callable, model: FunctionalModel) -> Callable:
    """A loss or target that computes in the model's dtype and on its device.

    A module, or a functools.partial, is copied and its tensors converted, such as class weights; a function with
    tensors of its own is not changed, and refused in words where they do not fit.
    """
    function = _converted(function, model)

    def evaluate(outputs: Tensor, targets: Tensor | None) -> Tensor:
        with model.precision():
            return function(outputs, targets)

    evaluate.__wrapped__ = function  # what it computes, for those who compare functions
    return evaluate


def _converted(function: Callable, model: FunctionalModel) -> Callable:
    converts = model.dtype != model.layout.dtype

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(model.device, model.dtype if converts and tensor.is_floating_point() else None)

    if isinstance(function, functools.partial):
        parts = cast_inside(function.args, cast), cast_inside(function.keywords, cast)
        return functools.partial(_converted(function.func, model), *parts[0], **parts[1])
    if isinstance(function, nn.Module) and not isinstance(function, torch.jit.ScriptModule):
        copied = private_copy(function).to(model.device, model.dtype if converts else None)
        move_attributes(copied, model.device, model.dtype if converts else None)
        return copied
    return function


def sample_losses(loss: Loss, outputs: Tensor, targets: Tensor) -> Tensor:
    """The loss of every sample on its own, [n]: whatever the reduction, a batch of one has nothing to reduce."""
    return torch.vmap(lambda f, y: loss(f.unsqueeze(0), y.unsqueeze(0)).reshape(()))(outputs, targets)


def _columns(values: Tensor) -> Tensor:
    """[n] → [n, 1]; [n, a, b, …] → [n, a·b·…]."""
    return values.unsqueeze(-1) if values.dim() == 1 else values.flatten(1)


def _margin(outputs: Tensor, targets: Tensor) -> Tensor:
    label = targets.unsqueeze(-1)
    others = outputs.scatter(-1, label, -torch.inf)
    return outputs.gather(-1, label) - others.amax(-1, keepdim=True)


def _activation(model: FunctionalModel, path: str) -> Value:
    modules = dict(model.module.named_modules())
    if path == "" or path not in modules:
        close = difflib.get_close_matches(path, modules, n=3) or [name for name in modules if name][:6]
        raise QueryError(
            f"The model has no module called {path!r}.",
            expected="'output', 'loss', 'margin', a function of (outputs, targets), or the path of a module",
            got=repr(path),
            remedy="Close or available paths: " + ", ".join(close) + ".",
        )

    def value(parameters: Mapping[str, Tensor], x: Tensor, y: Tensor | None) -> Tensor:
        model.probe(parameters, x)
        seen: list[Tensor] = []
        handle = modules[path].register_forward_hook(lambda module, args, output: seen.append(output))
        try:
            model.raw(parameters, x)
        finally:
            handle.remove()
        if len(seen) != 1 or not isinstance(seen[0], Tensor):
            raise QueryError(
                f"The module {path!r} has no single activation.",
                expected="a module that is called once and returns one tensor",
                got=f"{len(seen)} calls" if len(seen) != 1 else type(seen[0]).__name__,
                remedy="Choose a module inside it, or pass a function as target.",
            )
        return _columns(seen[0])

    return value
