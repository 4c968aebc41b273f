"""The ledger: each recorded update as a sum over training samples plus a regularization part (method.md section 2)."""

from __future__ import annotations

from explaind.ledger import adam, adamw, sgd
from explaind.ledger.coefficients import Coefficients, Expand, UpdateRule
from explaind.ledger.rebuild import ReplayError, check, rebuild, replay_refusal
from explaind.ledger.terms import Ledger, UpdateTerms

RULES: dict[str, UpdateRule] = {"AdamW": adamw.RULE, "Adam": adam.RULE, "SGD": sgd.RULE}

__all__ = [
    "RULES",
    "Coefficients",
    "Expand",
    "Ledger",
    "ReplayError",
    "UpdateRule",
    "UpdateTerms",
    "check",
    "rebuild",
    "replay_refusal",
]
