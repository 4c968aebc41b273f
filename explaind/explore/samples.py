"""Samples as a reader knows them: a picture, a sum, a text, or their numbers."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor

__all__ = ["Describe", "describer"]

Describe = Callable[[Any, int], dict[str, str]]
"""(inputs, position) → {"text": …} or {"picture": a data address, "text": …}."""

SHOWN = 6  # numbers of a sample without another form
SIZE = 56  # pixels of a picture's longer side, at least


def describer(data: Mapping[str, Any]) -> Describe:
    """How samples of this kind of data are shown.

    Args:
        data: the options of the run's data; empty for a run that the workflow did not make.
    """
    if data.get("name") == "modular_arithmetic":
        sign = {"addition": "+", "subtraction": "−", "multiplication": "×", "division": "÷"}.get(
            str(data.get("operation", "addition")), "∘"
        )
        modulus = int(data["modulus"])  # larger tokens are the signs

        def of_numbers(inputs: Any, i: int) -> dict[str, str]:
            a, b = [int(token) for token in inputs[i] if int(token) < modulus][:2]
            return {"text": f"{a} {sign} {b}"}

        return of_numbers
    return lambda inputs, i: _shown(_one(inputs, i), data)


def _one(inputs: Any, i: int) -> Any:
    if isinstance(inputs, Mapping):
        return next(iter(inputs.values()))[i]
    return inputs[0][i] if isinstance(inputs, tuple) else inputs[i]


def _shown(sample: Any, data: Mapping[str, Any]) -> dict[str, str]:
    sample = torch.as_tensor(sample)
    if sample.dim() == 3 and sample.shape[0] in (1, 3):
        return {"text": "", "picture": _picture(_pixels(sample, data))}
    flat = sample.reshape(-1)
    numbers = [str(int(v)) if not sample.is_floating_point() else f"{float(v):.3g}" for v in flat[:SHOWN]]
    return {"text": " ".join(numbers) + (" …" if len(flat) > SHOWN else "")}


def _pixels(sample: Tensor, data: Mapping[str, Any]) -> np.ndarray:
    """[H, W, C] in 0…1: by the data's own mean and deviation, or from the smallest to the largest value."""
    if "mean" in data and "std" in data:
        mean, std = (torch.tensor(data[name])[:, None, None] for name in ("mean", "std"))
        scaled = sample * std + mean
    else:
        low, high = float(sample.min()), float(sample.max())
        scaled = (sample - low) / ((high - low) or 1.0)
    return scaled.clamp(0, 1).permute(1, 2, 0).numpy()


def _picture(pixels: np.ndarray) -> str:
    from PIL import Image

    times = max(1, -(-SIZE // max(pixels.shape[:2])))
    image = Image.fromarray((pixels.squeeze() * 255).round().astype(np.uint8))
    image = image.resize((image.width * times, image.height * times), Image.Resampling.NEAREST)
    file = io.BytesIO()
    image.save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
