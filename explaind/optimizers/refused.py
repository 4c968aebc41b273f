"""Optimizers that are refused, each with its reason."""

from __future__ import annotations

REASONS: dict[str, str] = {
    "LBFGS": "its line search evaluates several gradients an update, and the update is no sum of them",
    "SparseAdam": "it moves only the rows that have a gradient, with a history of their own each",
    "Rprop": "its update depends on the signs of two gradients alone, and drops those that turned",
    "Muon": "it orthogonalises the momentum in bfloat16, and at first most of an update is that rounding, no function of samples",
    "Shampoo": "its preconditioners are matrices, which are not recorded",
    "DistributedShampoo": "its preconditioners are matrices, which are not recorded",
    "SOAP": "it runs Adam in a basis that changes between updates, which is not recorded",
}
"""Name of a class → why its updates are not decomposed."""
