"""Adam: as AdamW, but weight decay is an L2 term that enters the gradient, and so both moments (torch.optim.Adam)."""

from __future__ import annotations

from dataclasses import replace

from explaind.ledger import adamw
from explaind.ledger.coefficients import Coefficients, UpdateRule
from explaind.recording.trajectory import StepRecord


def coefficients(record: StepRecord, fresh: bool) -> Coefficients:
    """AdamW's scalars with coupled = λ in the place of decoupled = α λ."""
    return replace(
        adamw.coefficients(record, fresh), coupled=record.weight_decay, decoupled=(0.0,) * len(record.lr)
    )


RULE = UpdateRule(coefficients, adamw.preconditioner)
