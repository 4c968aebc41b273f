"""What was made again of a small recording so far, beside it: for `explaind show`, and for nothing else.

Nothing is trusted for being noted: whoever explains makes the updates again, and compares them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from explaind.attribution.remade import Remade
from explaind.recording.trajectory import Trajectory
from explaind.store import sha256_file, write_atomic

__all__ = ["load_notes", "save_notes", "summary"]

FILE = "remade.json"
FOLDER = "replay"


def load_notes(run: Trajectory) -> dict[int, Remade]:
    """The last comparison of each segment, by its first update; empty if there is none of just this recording."""
    try:
        content = json.loads((run.path / FOLDER / FILE).read_bytes())
        if content["recording"] != _identity(run):
            return {}
        return {row["start"]: Remade(**row) for row in content["remade"]}
    except (OSError, ValueError, TypeError, KeyError):  # a note that cannot be read is no note
        return {}


def save_notes(run: Trajectory, remade: Mapping[int, Remade]) -> None:
    """Add to the note; a recording that cannot be written to, or may still grow, stays without."""
    if not run.complete or not remade:
        return
    rows = [asdict(one) for _, one in sorted({**load_notes(run), **remade}.items())]
    try:
        (run.path / FOLDER).mkdir(exist_ok=True)
        payload = json.dumps({"recording": _identity(run), "remade": rows}).encode()
        write_atomic(run.path / FOLDER / FILE, payload)
    except OSError:
        return


def summary(remade: Mapping[int, Remade]) -> dict[str, Any]:
    """Updates made again, how many of them left the run's bits, and the largest relative difference at a kept state."""
    return {
        "remade": sum(one.stop - one.start for one in remade.values()),
        "remade_same_bits": sum(
            (one.stop if one.other is None else one.other) - one.start for one in remade.values()
        ),
        "remade_difference": max((one.difference for one in remade.values()), default=0.0),
    }


def _identity(run: Trajectory) -> str:
    return sha256_file(run.path / "manifest.json")
