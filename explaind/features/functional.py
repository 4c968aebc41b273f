"""The user's model as a pure function of its parameters: value(θ, inputs, targets) → [batch, outputs]."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.attention import SDPBackend, sdpa_kernel

from explaind.recording.trajectory import Trajectory

CPU = torch.device("cpu")
Value = Callable[[Mapping[str, Tensor], Tensor, Tensor | None], Tensor]
"""(parameters by name, inputs [n, …], targets [n, …] or None) → values [n, O]."""


class FunctionalModel:
    """A frozen copy of the model, in evaluation mode, with the recorded constants, called with explicit parameters.

    The user's own module is never touched. Evaluation mode equals the recorded mode because the recorder refuses dropout
    and batch statistics that are active in training.

    Args:
        model: the module whose parameters were recorded.
        trajectory: gives the layout and the constants (frozen parameters, buffers).
        dtype: of all floating-point parameters and buffers.
        device: where they are.

    Raises:
        StoreError: the model's parameters are not those of the recording.
    """

    def __init__(
        self, model: nn.Module, trajectory: Trajectory, dtype: torch.dtype, device: torch.device = CPU
    ) -> None:
        trajectory.check_model(model)
        self.layout = trajectory.layout
        self.dtype, self.device = dtype, device
        self.module = copy.deepcopy(model).eval().requires_grad_(False).to(device, dtype)
        self.constants = {
            name: value.to(device, dtype if value.is_floating_point() else None)
            for name, value in trajectory.constants.items()
        }

    def __call__(self, parameters: Mapping[str, Tensor], inputs: Tensor) -> Tensor:
        """Outputs of the model, in its own shape."""
        with math_attention():
            return functional_call(self.module, {**self.constants, **parameters}, (inputs,))


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
