"""Reverse mode: rows of the test feature map Φ at one node of the path.

A row is a scalar whose gradient is wanted: value_j(x) for test x and output j, or a sum of these over axes that the query
does not resolve. Shapes: n test samples (1 when they are summed), O' outputs (1 when they are summed), D parameters.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.func import grad, jacrev, vmap

from explaind.features.batched import Batched
from explaind.features.functional import Value
from explaind.recording.layout import Layout


class FeatureRows:
    """∇_θ of the rows, [n, O', D].

    Args:
        value: the pure function that is decomposed.
        layout: of the flat vector.
        tests, outputs: are these axes resolved, or summed inside the row?
    """

    def __init__(self, value: Value, layout: Layout, *, tests: bool, outputs: bool) -> None:
        self._value, self._layout = value, layout
        self._tests, self._outputs = tests, outputs
        self._evaluate = Batched(self._gradients, axis=0 if tests else None)

    def __call__(self, theta: Tensor, x: Tensor, y: Tensor | None) -> Tensor:
        """θ [D], samples x [n, …], y [n, …] → [n, O', D] (n = 1 when tests are summed)."""
        fixed = list(self._layout.unflatten(theta).values())
        return self._evaluate(fixed, [x] if y is None else [x, y])[0]

    def reduce(self, values: Tensor) -> Tensor:
        """Sum values [n, O] over the axes that rows do not resolve, [n or 1, O or 1]."""
        values = values if self._outputs else values.sum(1, keepdim=True)
        return values if self._tests else values.sum(0, keepdim=True)

    def _gradients(self, *arguments: Tensor) -> list[Tensor]:
        number = len(self._layout.names)
        theta = dict(zip(self._layout.names, arguments[:number], strict=True))
        samples = arguments[number:]

        def rows(parameters: dict[str, Tensor], *sample: Tensor) -> Tensor:
            """[O'] of one sample, or of all of them summed."""
            x, y = (*sample, None)[:2]
            if self._tests:
                x, y = x.unsqueeze(0), None if y is None else y.unsqueeze(0)
            value = self._value(parameters, x, y).sum(0)
            return value if self._outputs else value.sum()

        derivative = jacrev(rows) if self._outputs else grad(rows)
        if self._tests:
            derivative = vmap(derivative, in_dims=(None, *(0 for _ in samples)))
        gradients = derivative(theta, *samples)
        lead = (len(samples[0]) if self._tests else 1, -1)
        shapes = zip(self._layout.names, self._layout.sizes, strict=True)
        return [torch.cat([gradients[name].reshape(*lead, size) for name, size in shapes], dim=-1)]
