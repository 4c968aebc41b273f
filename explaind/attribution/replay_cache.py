"""A cache of replay errors beside the recording: what was rebuilt for one query need not be rebuilt for the next.

An entry belongs to one recording, one set of training samples, one loss and one model: its name is a digest of all four. It
holds the measured errors, not a verdict. It is used only if a few updates, rebuilt again, give the errors it states.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from explaind.attribution.fingerprint import fingerprint
from explaind.ledger import ReplayError, rebuild
from explaind.store import canonical_json, sha256_file, write_atomic

if TYPE_CHECKING:
    from explaind.attribution.problem import Problem

FOLDER = "replay"
PROBES = 4


def load(problem: Problem) -> dict[int, ReplayError]:
    """Errors of the updates that were rebuilt before, by update; empty if there are none for just this problem."""
    path = _path(problem)
    try:
        content = json.loads(path.read_bytes()) if path is not None and path.is_file() else {}
        if content.get("digest") != _digest(content.get("errors")):
            return {}
        return {row["step"]: ReplayError(**row) for row in content["errors"]}
    except (OSError, ValueError, TypeError, KeyError):  # an entry that cannot be read is no entry
        return {}


def save(problem: Problem, known: dict[int, ReplayError], fresh: dict[int, ReplayError]) -> None:
    """Write what was rebuilt; a recording that cannot be written to, or is not complete, stays without an entry."""
    path = _path(problem)
    if path is None:
        return
    rows = [asdict(error) for _, error in sorted({**known, **fresh}.items())]
    try:
        path.parent.mkdir(exist_ok=True)
        write_atomic(path, json.dumps({"digest": _digest(rows), "errors": rows}).encode())
    except OSError:
        return


def still_holds(problem: Problem, known: dict[int, ReplayError], start: int, stop: int) -> bool:
    """Rebuild a few updates of [start, stop) again and compare."""
    gradient = problem.batch_gradient()
    for s in sorted({start + (stop - 1 - start) * i // (PROBES - 1) for i in range(PROBES)}):
        for error in rebuild(problem.ledger, gradient, s, s + 1):
            # The buffer of a single update is inferred from the one before; rounding alone may differ.
            if abs(error.relative - known[s].relative) > 1e-10 + error.rounding + 0.1 * known[s].relative:
                return False
    return True


def _path(problem: Problem) -> Path | None:
    """Path of the entry of this problem; None if its parts have no digest or the recording may still grow."""
    trajectory, gradients = problem.trajectory, problem.gradients
    if not trajectory.complete or gradients is None:
        return None
    train = gradients.train
    loss = getattr(gradients.loss, "__wrapped__", gradients.loss)
    penalty = getattr(problem.ledger.penalty_gradient, "function", None)
    parts = fingerprint(train.content, train.view, loss, problem.model.module, str(problem.dtype), penalty)
    if parts is None:
        return None
    name = hashlib.sha256(f"{sha256_file(trajectory.path / 'manifest.json')} {parts}".encode()).hexdigest()
    return trajectory.path / FOLDER / f"{name[:32]}.json"


def _digest(rows: object) -> str:
    return hashlib.sha256(canonical_json(rows).encode()).hexdigest()
