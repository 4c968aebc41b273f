"""Where computations run: on the GPU that a job was given, else on the processor.

Never named in a configuration: a job of the workflow sees a GPU only if its rule asks for one (`gpu` in resources), and a
script of a user's sees those that CUDA_VISIBLE_DEVICES leaves it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["find_device", "on"]


def find_device() -> torch.device:
    """The first visible GPU, or the CPU."""
    return torch.device("cuda" if torch.cuda.is_available() else "cpu")


def on(device: torch.device) -> AbstractContextManager:
    """New tensors are made on `device` inside; on the CPU nothing changes."""
    return nullcontext() if device.type == "cpu" else device
