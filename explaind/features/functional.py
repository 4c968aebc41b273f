"""The user's model as a pure function of its parameters: value(θ, inputs, targets) → [batch, outputs]."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.modules.batchnorm import _BatchNorm

from explaind.errors import QueryError
from explaind.features.frozen import (
    Memory,
    default_dtype,
    differentiable,
    eager,
    frozen_copy,
    let_recurrent_layers_train,
    math_attention,
)
from explaind.features.outputs import logits_of, not_one_tensor
from explaind.features.packing import Inputs, Packings
from explaind.features.plain_layers import without_padding
from explaind.recording.forward_passes import Mode, set_modes, unwrapped
from explaind.recording.trajectory import Trajectory

__all__ = ["CPU", "Forward", "FunctionalModel", "Value", "math_attention"]

CPU = torch.device("cpu")
Value = Callable[[Mapping[str, Tensor], Tensor, Tensor | None], Tensor]
"""(parameters by name, inputs [n, …], targets [n, …] or None) → values [n, O]."""
Forward = Callable[[nn.Module, Any], Tensor]
"""(module, inputs [n, …], as the samples were given) → outputs [n, …], in place of module(inputs)."""


class FunctionalModel:
    """A frozen copy of the model, in evaluation mode, with the recorded constants, called with explicit parameters.

    The user's own module is never touched. Forward passes of training that were more than that, random or under autocast, are
    evaluated by a copy in their mode (`explaind.features.training_passes`).

    Args:
        model: the module whose parameters were recorded; it may be wrapped now, or have been wrapped then.
        trajectory: gives the layout and the constants (frozen parameters, buffers).
        dtype: of all floating-point parameters, buffers and tensors that are plain attributes.
        device: where they are.
        forward: (module, inputs) → outputs, for a model that is not called as module(inputs) or does not return one tensor.
        mode: of its modules; None for evaluation mode.
        packings: of inputs that are several tensors.
        trains: gradients are those of training, where embeddings drop that of `padding_idx`, and not derivatives of the outputs.
        natural: compute with the layers and kernels of training, for gradients of whole batches to the last bit; else with those
            that can be differentiated in every way.

    Attributes:
        mixes: does a batch normalisation in training mode mix the samples of a batch?

    Raises:
        StoreError: the model's parameters are not those of the recording.
        QueryError: the model cannot be copied, or is a ScriptModule; and from calls, see `__call__`.
    """

    def __init__(
        self,
        model: nn.Module,
        trajectory: Trajectory,
        dtype: torch.dtype,
        device: torch.device = CPU,
        forward: Forward | None = None,
        mode: Mode | None = None,
        packings: Packings | None = None,
        trains: bool = False,
        natural: bool = False,
    ) -> None:
        self.layout = trajectory.layout
        self.dtype, self.device = dtype, device
        self._trajectory, self._forward = trajectory, forward
        self._packings = packings or Packings(())
        self._source = model = unwrapped(model)
        names = trajectory.match_model(model)
        converted = dtype != trajectory.layout.dtype
        self._default = dtype if converted else None
        self.module = frozen_copy(model, dtype, device, cast=converted, plain=not natural)
        if mode is not None:
            _set_modes(self.module, mode)
        elif natural:
            let_recurrent_layers_train(self.module)
        self._trains, self._surroundings = trains, eager if natural else differentiable
        self.mixes = any(isinstance(m, _BatchNorm) and m.training for m in self.module.modules())
        self._pads = not trains and without_padding(self.module)
        self._called = self.module if forward is None else _Called(self.module, forward)
        self._matched = names
        self._names = names if forward is None else {old: f"module.{new}" for old, new in names.items()}
        self.constants = {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in trajectory.constants.items()
        }
        self._fixed = {self._names[name]: value for name, value in self.constants.items()}
        self._memory = Memory(self.module)
        self._probed = mode is not None  # what is random differs from call to call

    def in_double_precision(self) -> FunctionalModel:
        """The same function with float64 parameters, buffers and constants."""
        return self.converted(torch.float64)

    def converted(self, dtype: torch.dtype, mode: Mode | None = None) -> FunctionalModel:
        """The same function in another precision, or with its modules in another mode.

        Raises:
            QueryError: it has no module of a name in the mode.
        """
        return self._with(dtype, mode, trains=self._trains)

    def as_trained(self, mode: Mode | None) -> FunctionalModel:
        """The model as training evaluated whole batches: in the run's precision, with the kernels of training."""
        return self._with(self.layout.dtype, mode, trains=True, natural=True)

    def in_training(self) -> FunctionalModel:
        """The function whose gradients training took."""
        return self._with(self.dtype, None, trains=True) if self._pads else self

    def _with(self, dtype: torch.dtype, mode: Mode | None, **how: bool) -> FunctionalModel:
        return FunctionalModel(*self.made_of(dtype, mode), **how)

    def made_of(self, dtype: torch.dtype, mode: Mode | None) -> tuple[Any, ...]:
        """What a copy in another precision or mode is made of: arguments, from `model` to `packings`."""
        return self._source, self._trajectory, dtype, self.device, self._forward, mode, self._packings

    def __call__(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Outputs of the model, in its own shape.

        Raises:
            QueryError: they are not one tensor, cannot be differentiated, change from call to call, or do not depend on the
                parameters; or the forward pass changes a buffer or its inputs.
        """
        outputs = self.raw(parameters, inputs)
        if not isinstance(outputs, Tensor):
            raise not_one_tensor(outputs)
        return outputs

    def raw(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Any:
        """Whatever the model returns."""
        self.probe(parameters, inputs)
        return self._evaluate(parameters, inputs)

    def applied(self, function: Callable[[nn.Module], Any], parameters: Mapping[str, Tensor]) -> Any:
        """function(module) of the module with these parameters, and with the recorded constants."""
        named = {
            f"module.{self._matched[name]}": value for name, value in (self.constants | parameters).items()
        }
        try:
            with differentiable(), self.precision():
                return functional_call(_Applied(self.module, function), named, ())
        finally:
            self._memory.restore()

    def probe(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> None:
        """Before the first call, compare two others, which shows what must not be; see `__call__`. Nothing afterwards."""
        if self._probed or _transformed():
            return
        with torch.no_grad():
            outputs = self._evaluate(parameters, inputs)
        self._compare(parameters, inputs, outputs)
        self._probed = True

    @contextmanager
    def precision(self) -> Iterator[None]:
        """What is made inside has the dtype of the computation; where dtypes still clash, that is said in words.

        Raises:
            QueryError: a dtype of the run's is mixed with that of the computation.
        """
        try:
            with default_dtype(self._default):
                yield
        except (RuntimeError, TypeError) as error:
            if self._default is None or not any(word in str(error) for word in _DTYPE_WORDS):
                raise
            run, now = (str(dtype).removeprefix("torch.") for dtype in (self.layout.dtype, self.dtype))
            raise QueryError(
                f"The run was made in {run}, but at this tolerance it is evaluated in {now}, and the model, the loss or the "
                f"target mixes the two.",
                expected=f"constants that follow the outputs' dtype, such as weights.to(outputs), or are made in {now}",
                got=f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
                remedy="Convert the constant where it is used, or ask with tolerance=1e-3 or above, which is evaluated in "
                f"{run}.",
            ) from error

    def _evaluate(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Any:
        named = {self._names[name]: value for name, value in parameters.items()}
        versions = [value._version for value in self._fixed.values()]
        try:
            with self._surroundings(), self.precision():
                given = self._packings.unpack(inputs, self.dtype)
                fixed = self._fixed
                if self.mixes:  # running statistics, which a forward pass in training mode changes
                    fixed = {name: value.clone() for name, value in fixed.items()}
                outputs = logits_of(self._called_with({**fixed, **named}, given))
        except (RuntimeError, NotImplementedError) as error:
            if not _transformed() or "vmap" in str(error):
                raise  # said by the caller, who knows the samples
            raise QueryError(
                "The model cannot be differentiated.",
                expected="operations with forward-mode derivatives and batching rules in torch.func",
                got=f"{type(error).__name__}: {str(error).partition(chr(10))[0][:200]}",
                remedy="Write the operation with others that have them, or keep other axes: those with all training samples "
                "summed differentiate whole batches.",
            ) from error
        finally:
            self._memory.restore()
        for (name, value), version in zip(self._fixed.items(), versions, strict=True):
            if value._version != version and value.is_floating_point():
                raise QueryError(
                    f"The forward pass changes {name!r}, so an output depends on the calls before it.",
                    expected="a forward pass that leaves buffers and frozen parameters alone in evaluation mode",
                    remedy="Update it in training mode only, or outside the forward pass.",
                )
        return outputs

    def _called_with(self, parameters: dict[str, Tensor], inputs: Inputs) -> Any:
        """As the model is called: with one tensor, with several, or with keyword arguments; an adapter gets them as one."""
        if self._forward is not None or isinstance(inputs, Tensor):
            return functional_call(self._called, parameters, (inputs,))
        if isinstance(inputs, dict):
            return functional_call(self._called, parameters, (), inputs)
        return functional_call(self._called, parameters, inputs)

    def _compare(self, parameters: Mapping[str, Tensor], inputs: Tensor, outputs: Any) -> None:
        """Call again and compare: random masks and memory of earlier calls show, and outputs that carry no gradient."""
        seen = inputs.clone()
        with torch.enable_grad():
            leaves = {name: value.detach().clone().requires_grad_() for name, value in parameters.items()}
            again = self._evaluate(leaves, seen)
        if not torch.equal(seen, inputs):
            raise QueryError(
                "The forward pass changes its inputs.",
                expected="a forward pass that leaves its inputs alone",
                remedy="Work on a copy: inputs.clone() at the beginning of the forward pass.",
            )
        if not isinstance(outputs, Tensor) or not isinstance(again, Tensor):
            return
        rounding = 1e3 * torch.finfo(outputs.dtype).eps if outputs.is_floating_point() else 0.0
        first, second = outputs.detach(), again.detach()
        if first.shape != second.shape or not torch.allclose(
            first, second, rtol=rounding, atol=rounding * float(first.abs().max()), equal_nan=True
        ):
            raise QueryError(
                "The model's outputs change from call to call, with the same parameters and inputs.",
                expected="outputs that follow from parameters and inputs alone, in evaluation mode",
                got="other outputs the second time",
                remedy="Take out what is random (dropout must follow self.training) or remembered between calls.",
            )
        if leaves and not _reaches(again, leaves.values()):
            raise QueryError(
                "The model's outputs carry no gradient to the recorded parameters.",
                expected="outputs that autograd can follow back to the parameters",
                got="outputs cut off from them by no_grad, detach, a conversion to numbers, or a forward= that calls "
                "another module than the one it is given",
                remedy="Take the cut out of the forward pass.",
            )


def _set_modes(module: nn.Module, mode: Mode) -> None:
    try:
        set_modes(module, mode)
    except AttributeError as error:
        raise QueryError(
            "The model has other modules than the one that was trained.",
            expected=f"modules {', '.join(mode.switched)}, whose mode was not that of the whole",
            got=str(error),
            remedy="Build the model as it was when the run was recorded.",
        ) from error


class _Called(nn.Module):
    """The adapter in the place of the model."""

    def __init__(self, module: nn.Module, forward: Forward) -> None:
        super().__init__()
        self.module = module
        self._forward = forward

    def forward(self, inputs: Any) -> Any:
        return self._forward(self.module, inputs)


class _Applied(nn.Module):
    """A function of the module in the place of its forward pass."""

    def __init__(self, module: nn.Module, function: Callable[[nn.Module], Any]) -> None:
        super().__init__()
        self.module = module
        self._function = function

    def forward(self) -> Any:
        return self._function(self.module)


_DTYPE_WORDS = ("dtype", "scalar type", "Float and Double", "Double and Float")


def _reaches(outputs: Tensor, leaves: Iterable[Tensor]) -> bool:
    """Does the graph behind the outputs end in one of these leaves?"""
    wanted = {id(leaf) for leaf in leaves}
    seen, waiting = set(), [outputs.grad_fn]
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        if id(getattr(node, "variable", None)) in wanted:
            return True
        seen.add(node)
        waiting.extend(following for following, _ in node.next_functions)
    return id(outputs) in wanted


def _transformed() -> bool:
    """Is a transform of torch.func around this call?"""
    return torch._C._functorch.maybe_current_level() is not None
