"""How far what is shown can be trusted: the certificate of the run and the checks of each answer, in words and numbers."""

from __future__ import annotations

import numpy as np
import xarray as xr

from explaind.explore.sources import Source
from explaind.explore.views.view import View

__all__ = ["certificate"]

COLUMNS = ("what", "number")


def certificate(source: Source, answers: dict[str, xr.Dataset]) -> View:
    """The certificate.

    Args:
        source: the run.
        answers: name → dataset that is shown, whose own checks are added.
    """
    rows: list[tuple[str, str]] = []
    words: list[str] = []
    stored = source.dataset("certificate.zarr", "certificate")
    if stored is not None:
        passed, total = bool(stored.attrs["passed"]), stored.sizes["step"]
        worst = float(np.nanmax(stored["replay_relative"].values, initial=0.0))
        words.append(
            f"All {total:,} updates were rebuilt from their batches: they are off by at most {worst:.1e} of their length"
            + (
                ", within what is accepted."
                if passed
                else ". This is more than is accepted: the run is NOT certified."
            )
        )
        rows += [
            ("updates rebuilt", f"{total:,}"),
            ("largest replay error, relative to the update", f"{worst:.3e}"),
            (
                "accepted, beyond what rounding of the stored parameters explains",
                f"{stored.attrs['tolerance']:g}",
            ),
            ("certificate", "passed" if passed else "failed"),
        ]
    elif source.recording is not None:
        words.append("The run as a whole has no certificate here; what is computed is checked by itself.")
    for name, answer in answers.items():
        rows += _checks(name, answer)
    if answers:
        words.append(
            "Every answer states its own errors below; its residual is part of the bar that adds up."
        )
    return View(
        " ".join(words) or "Nothing that is shown was checked here.",
        COLUMNS,
        rows,
        more={"notes": source.notes},
    )


def _checks(name: str, answer: xr.Dataset) -> list[tuple[str, str]]:
    attrs = answer.attrs
    rows = [
        (f"{name}: updates checked by", str(attrs.get("replay_checked", "nothing"))),
        (f"{name}: largest replay error, relative", f"{attrs.get('replay_worst', float('nan')):.3e}"),
        (f"{name}: nodes of an integral, on average", f"{attrs.get('nodes_mean', float('nan')):.2f}"),
        (
            f"{name}: worst integration error of an update",
            f"{attrs.get('quadrature_error_worst', float('nan')):.3e}",
        ),
    ]
    if "residual" in answer:
        rows.append((f"{name}: largest residual", f"{float(abs(answer['residual']).max()):.3e}"))
    return rows
