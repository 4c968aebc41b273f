"""A private copy of a user's module that gives the same outputs however often, and under whatever transform, it is called.

The user's module is never changed. What stands between a module that trains and one that can be differentiated again and
again is taken out of the copy, or switched off around its calls: graphs that hang on remembered activations, wrappers,
compiled code, fused kernels without derivatives, recomputation in the backward pass, and what the calls leave behind.
"""

from __future__ import annotations

import copy
import functools
import sys
import types
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils import checkpoint

from explaind.errors import QueryError
from explaind.features.plain_layers import use_plain_layers

Cast = Callable[[Tensor], Tensor]
_CONTENTS = ("_parameters", "_buffers", "_modules")


def frozen_copy(
    model: nn.Module, dtype: torch.dtype, device: torch.device, *, cast: bool, plain: bool = True
) -> nn.Module:
    """A copy in evaluation mode, without gradients.

    Args:
        model: the user's.
        dtype, device: of its floating-point parameters and buffers.
        cast: give floating-point tensors that are plain attributes this dtype too.
        plain: let layers whose kernels lack derivatives compute with plain operations.

    Raises:
        QueryError: the model is a ScriptModule, or holds something that cannot be copied.
    """
    for name, module in model.named_modules():
        if isinstance(module, torch.jit.ScriptModule):
            raise QueryError(
                f"The model {f'has a ScriptModule, {name!r}' if name else 'is a ScriptModule'}, which cannot be differentiated "
                "sample by sample.",
                expected="a model of Python modules",
                got=type(module).__name__,
                remedy="Pass the module that was scripted or traced: its parameters have the same names.",
            )
    module = private_copy(model).eval().requires_grad_(False).to(device, dtype)
    move_attributes(module, device, dtype if cast else None)
    if plain:
        use_plain_layers(module)
    return module


def let_recurrent_layers_train(model: nn.Module) -> None:
    """Recurrent layers in training mode, without dropout: cuDNN has no backward pass for them otherwise."""
    for module in model.modules():
        if isinstance(module, nn.RNNBase):
            module.dropout = 0.0
            module.train()


def private_copy(model: nn.Module) -> nn.Module:
    """A deep copy; tensors that hang on a graph, such as a remembered activation, are copied without it.

    Raises:
        QueryError: the model holds something that cannot be copied.
    """
    try:
        return copy.deepcopy(model, {id(tensor): tensor.detach().clone() for tensor in _on_a_graph(model)})
    except (TypeError, RuntimeError, AttributeError, NotImplementedError) as error:
        raise QueryError(
            "The model cannot be copied, and it is not to be changed.",
            expected="a model that copy.deepcopy accepts",
            got=f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
            remedy="Take attributes such as open files, locks or generators off the model, or pass one that is newly made: "
            "its present values do not matter.",
        ) from error


def move_attributes(model: nn.Module, device: torch.device, dtype: torch.dtype | None) -> None:
    """Move tensors that are plain attributes, and give floating-point ones `dtype` if there is one."""

    def cast(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    for module in model.modules():
        for name, value in module.__dict__.items():
            if name not in _CONTENTS:
                module.__dict__[name] = cast_inside(value, cast)


def cast_inside(value: Any, cast: Cast) -> Any:
    """`value` with every tensor in it cast, inside lists, tuples and dictionaries too; parameters belong to their module."""
    if isinstance(value, Tensor):
        return value if isinstance(value, nn.Parameter) else cast(value)
    if type(value) in (list, tuple):
        parts = [cast_inside(part, cast) for part in value]
        changed = any(a is not b for a, b in zip(parts, value, strict=True))
        return type(value)(parts) if changed else value
    if type(value) is dict:
        parts = {key: cast_inside(part, cast) for key, part in value.items()}
        return parts if any(parts[key] is not part for key, part in value.items()) else value
    return value


class Memory:
    """The plain attributes of all modules, put back after a call: a tensor that outlives its transform is of no use."""

    def __init__(self, model: nn.Module) -> None:
        self._kept = [(module.__dict__, dict(module.__dict__)) for module in model.modules()]

    def restore(self) -> None:
        """Undo every assignment to an attribute since the beginning."""
        for present, kept in self._kept:
            if len(present) != len(kept) or any(
                a is not b for a, b in zip(present.values(), kept.values(), strict=True)
            ):
                present.clear()
                present.update(kept)


@contextmanager
def eager() -> Iterator[None]:
    """Code that cannot be called with other parameters is replaced: compiled functions, and gradient checkpointing."""
    with ExitStack() as stack:
        if "torch._dynamo" in sys.modules:  # otherwise nothing is compiled
            stack.enter_context(torch.compiler.set_stance("force_eager"))
        stack.enter_context(_without_checkpoints())
        yield


@contextmanager
def differentiable() -> Iterator[None]:
    """Code without derivatives of every kind is replaced too: fused attention, and masks that transformers leaves out where it
    sees that they hide nothing."""
    with ExitStack() as stack:
        stack.enter_context(eager())
        stack.enter_context(math_attention())
        if masks := sys.modules.get("transformers.masking_utils"):
            stack.enter_context(_replaced(masks, {"is_tracing": lambda *_: True}))
        yield


@contextmanager
def math_attention() -> Iterator[None]:
    """Attention without fused kernels, neither of scaled_dot_product_attention nor of torch's own modules in evaluation
    mode (their "fast path"): these have no forward-mode derivative."""
    fast = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with sdpa_kernel(SDPBackend.MATH):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fast)


@contextmanager
def default_dtype(dtype: torch.dtype | None) -> Iterator[None]:
    """Tensors that are made inside, such as torch.ones(3), have this dtype. None: as it is."""
    if dtype is None:
        yield
        return
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
    finally:
        torch.set_default_dtype(before)


class _Direct:
    """Stands for the autograd function of reentrant checkpoints."""

    @staticmethod
    def apply(function: Callable, preserve: bool, *args: Any) -> Any:
        return function(*args)


def _nothing(*args: Any, **kwargs: Any) -> Iterator[None]:
    """Stands for what surrounds the forward pass of other checkpoints."""
    yield


@contextmanager
def _without_checkpoints() -> Iterator[None]:
    """torch.utils.checkpoint keeps its activations: recomputed after the call, they would be of the copy's own parameters."""
    stand_ins = {"CheckpointFunction": _Direct, "_checkpoint_without_reentrant_generator": _nothing}
    with _replaced(checkpoint, stand_ins):
        yield


@contextmanager
def _replaced(module: types.ModuleType, stand_ins: dict[str, Any]) -> Iterator[None]:
    """Some functions of a module, those that it has, are others within the block."""
    originals = {name: getattr(module, name) for name in stand_ins if hasattr(module, name)}
    for name in originals:
        setattr(module, name, stand_ins[name])
    try:
        yield
    finally:
        for name, value in originals.items():
            setattr(module, name, value)


def _on_a_graph(model: nn.Module) -> list[Tensor]:
    """Every tensor within reach of the model that is not a leaf of autograd."""
    tensors: list[Tensor] = []
    seen: set[int] = set()
    waiting: list[Any] = [model]
    while waiting:
        value = waiting.pop()
        if id(value) in seen:
            continue
        seen.add(id(value))
        if isinstance(value, Tensor):
            if not value.is_leaf:
                tensors.append(value)
        elif isinstance(value, dict):
            waiting.extend(value.values())
        elif isinstance(value, list | tuple | set | frozenset | deque):
            waiting.extend(value)
        elif isinstance(value, functools.partial):
            waiting.extend((value.args, value.keywords))
        elif isinstance(value, types.MethodType):
            waiting.append(value.__self__)
        elif not isinstance(value, type | types.ModuleType | types.FunctionType):
            waiting.append(getattr(value, "__dict__", None) or ())
    return tensors
