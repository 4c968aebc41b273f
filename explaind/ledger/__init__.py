"""The ledger: each recorded update as a sum over training samples plus a regularization part (method.md section 2)."""

from __future__ import annotations

from explaind.ledger import adam, adamw, sgd
from explaind.ledger.average import Average, Path
from explaind.ledger.coefficients import Coefficients, Expand, UpdateRule
from explaind.ledger.diagnosis import diagnose
from explaind.ledger.norms import compare_norms, implied_gradients
from explaind.ledger.rebuild import DECISIVE, Rebuilt, ReplayError, buffer_before, rebuild, rebuilt_updates
from explaind.ledger.terms import Ledger
from explaind.ledger.update_terms import UpdateTerms

RULES: dict[str, UpdateRule] = {"AdamW": adamw.RULE, "Adam": adam.RULE, "SGD": sgd.RULE}

__all__ = [
    "DECISIVE",
    "RULES",
    "Average",
    "Coefficients",
    "Expand",
    "Ledger",
    "Path",
    "Rebuilt",
    "ReplayError",
    "UpdateRule",
    "UpdateTerms",
    "buffer_before",
    "compare_norms",
    "diagnose",
    "implied_gradients",
    "rebuild",
    "rebuilt_updates",
]
