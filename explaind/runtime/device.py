"""Where computations run: on the GPU that a job was given, else on the processor.

A run is explained on the kind of device that it was trained on. Never named in a configuration: a job of the workflow sees a GPU
only if its rule asks for one (`gpu` in resources), and a script of a user's sees those that CUDA_VISIBLE_DEVICES leaves it.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch

__all__ = ["find_device", "on"]


def find_device(recorded: str | None = None) -> torch.device:
    """Where to compute.

    Args:
        recorded: the type of device that a run was trained on, which its updates are made again on: other kernels give other
            last bits, and another generator other masks. None: not known, or there is no run.

    Returns:
        The first visible GPU unless the run was trained without one; else the processor.
    """
    return torch.device("cuda" if torch.cuda.is_available() and recorded in (None, "cuda") else "cpu")


def on(device: torch.device) -> AbstractContextManager:
    """New tensors are made on `device` inside; on the CPU nothing changes."""
    return nullcontext() if device.type == "cpu" else device
