"""The order in which a training run sees its samples: which batch, and which view of each sample, at every update.

An order is a function of the step alone. Every epoch draws one permutation of all samples, and one flip per sample, from a
generator of its own that is started with the run's seed and the epoch; a run that resumes, or that leaves samples out,
therefore meets the others in the same order and with the same flips.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from explaind.errors import ConfigError

__all__ = ["Order"]

#: Between the generators of two seeds. torch's CPU generator takes 32 bits; an odd number maps seeds to different places among
#: them, and this one, near 2³² / golden ratio, to distant ones.
_STRIDE = 2_654_435_761


class Order:
    """(step) → (indices int64 [B], views int64 [B] or None).

    Args:
        samples: N.
        training: `config["train"]`: `batch` (null: all samples at every step), `drop_last`, `flip`.
        seed: of the run.
        members: the samples that take part; all by default.
        packed: fill the batches of the members up again, as a run on them alone would. Otherwise each member stays in the batch
            that it has among all samples, and batches shrink.

    Raises:
        ConfigError: fewer samples than a batch needs.
    """

    def __init__(
        self,
        samples: int,
        training: Mapping[str, Any],
        seed: int,
        *,
        members: Tensor | None = None,
        packed: bool = True,
    ) -> None:
        self._samples, self._seed, self._flip = samples, seed, training["flip"] == "horizontal"
        self._packed, self._member = packed, None
        count = samples
        if members is not None:
            self._member = torch.zeros(samples, dtype=torch.bool)
            self._member[members] = True
            count = int(self._member.sum()) if packed else samples
        self._batch = training["batch"]
        self._epoch: tuple[int, Tensor, Tensor] | None = None
        whole = count // self._batch if self._batch else 1
        ragged = bool(self._batch and count % self._batch and not training["drop_last"])
        #: Updates in one pass over the samples.
        self.per_epoch = whole + ragged
        if self.per_epoch == 0:
            raise ConfigError(
                "The training set is smaller than one batch.",
                expected=f"at least {self._batch} samples, as incomplete batches are dropped",
                got=f"{count}",
                remedy="Lower train.batch, or set train.drop_last=false.",
            )

    def __call__(self, step: int) -> tuple[Tensor, Tensor | None]:
        """The batch of update `step`."""
        if self._batch is None:
            everyone = (
                torch.arange(self._samples) if self._member is None else torch.nonzero(self._member)[:, 0]
            )
            return everyone, None
        epoch, position = divmod(step, self.per_epoch)
        if self._epoch is None or self._epoch[0] != epoch:
            generator = torch.Generator().manual_seed((self._seed * _STRIDE + epoch) % (1 << 32))
            order = torch.randperm(self._samples, generator=generator)
            flips = torch.randint(2, (self._samples,), generator=generator)
            if self._member is not None and self._packed:
                order = order[self._member[order]]
            self._epoch = (epoch, order, flips)
        _, order, flips = self._epoch
        indices = order[position * self._batch : (position + 1) * self._batch]
        if self._member is not None and not self._packed:
            indices = indices[self._member[indices]]
        return indices, flips[indices] if self._flip else None
