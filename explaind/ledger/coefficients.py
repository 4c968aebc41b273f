"""One optimizer update as a linear recursion in the gradients.

Every optimizer of the ledger is, per parameter group, the recursion (s counts updates, ⊙ is elementwise)

    d_s     = ± c_s g_s + coupled_s θ_s            what enters the buffer (− when the optimizer maximizes)
    b_{s+1} = μ_s b_s + κ_s d_s                    first moment or momentum buffer
    u_s     = − P_s ⊙ (ρ_s b_{s+1} + σ_s d_s) − decoupled_s θ_s

with g_s the gradient of the batch loss, c_s the clip factor and P_s the preconditioner, which is not unrolled. Writing g_s
as a sum over samples gives method.md section 2: −Σ_k φ_{s,k} is the part of u_s that is linear in the gradients, −r_s the
part that is linear in the θ's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from explaind.recording.trajectory import StepRecord


@dataclass(frozen=True)
class Coefficients:
    """The scalars of one update, one entry per parameter group (see the module's recursion)."""

    mu: tuple[float, ...]
    kappa: tuple[float, ...]
    rho: tuple[float, ...]
    sigma: tuple[float, ...]
    coupled: tuple[float, ...]
    decoupled: tuple[float, ...]
    sign: tuple[float, ...]


@dataclass(frozen=True)
class UpdateRule:
    """An optimizer as the ledger sees it: its scalars per update and its preconditioner."""

    coefficients: Callable[[StepRecord, bool], Coefficients]
    """(record of the update, is it the very first of a fresh optimizer) → scalars per group."""
    preconditioner: (
        Callable[[StepRecord, Tensor, Callable[[tuple[float, ...]], Tensor | float]], Tensor] | None
    )
    """(record, second moment v_{s+1} [D], expand) → P_s [D]; None where P_s = 1."""


class Expand:
    """Spreads one scalar per parameter group over the flat parameter vector.

    Returns a float when all groups agree, so that the usual case of one group costs no vector at all.
    """

    def __init__(
        self,
        group: tuple[int, ...],
        sizes: tuple[int, ...],
        dtype: torch.dtype,
        device: torch.device | None = None,
    ) -> None:
        self._groups = sorted(set(group))
        self._index = torch.repeat_interleave(torch.tensor(group), torch.tensor(sizes)).to(device)
        self._dtype, self._device = dtype, device

    def __call__(self, values: tuple[float, ...]) -> Tensor | float:
        """values: one per group → float, or Tensor [D]."""
        used = {values[g] for g in self._groups}
        if len(used) == 1:
            return used.pop()
        return torch.tensor(values, dtype=self._dtype, device=self._device)[self._index]
