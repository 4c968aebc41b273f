"""An answer in words, for notebooks and terminals.

An `xarray.Dataset` shows its arrays. What was asked, what was checked and how far the answer can be trusted stands in its
attributes, and `explaind.describe(scores)` reads them. (A subclass of Dataset would lose itself in every operation, and an
accessor cannot change how a Dataset is shown.)
"""

from __future__ import annotations

import base64
import html
import io
from dataclasses import dataclass

import numpy as np
import xarray as xr

from explaind.errors import QueryError

__all__ = ["Description", "describe"]

CHECKED = {
    "gradients": "every update was rebuilt from its batch",
    "norms": "the gradient that every update implies is as long as the recorded one",
    "certificate": "every update was rebuilt from its batch by a certificate",
    "nothing": "nothing was checked",
}


@dataclass(frozen=True)
class Description:
    """What an answer says of itself; shown as text, and in a notebook as a table with a small picture.

    Attributes:
        rows: (what, in words) in order.
        scores: the answer.
    """

    rows: tuple[tuple[str, str], ...]
    scores: xr.Dataset

    def __repr__(self) -> str:
        width = max(len(name) for name, _ in self.rows)
        return "\n".join(f"{name.rjust(width)}  {text}" for name, text in self.rows)

    def _repr_html_(self) -> str:
        lines = "".join(
            f"<tr><th style='text-align:right;padding-right:1em'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(text)}</td></tr>"
            for name, text in self.rows
        )
        return f"<div><table>{lines}</table>{self._picture()}</div>"

    def _picture(self) -> str:
        """The answer's most telling picture: what adds up, beside when or because of which samples."""
        from matplotlib.figure import Figure

        import explaind.plot as plot

        drawn = [plot.waterfall] if "residual" in self.scores else []
        kept = self.scores["kernel"].dims
        drawn += [plot.timeline] if "step" in kept else [plot.top_samples] if "train" in kept else []
        if not drawn:
            return ""
        figure = Figure(figsize=(4.2 * len(drawn), 2.6), layout="constrained")
        for draw, axes in zip(drawn, np.atleast_1d(figure.subplots(1, len(drawn))), strict=True):
            draw(self.scores, ax=axes)
        file = io.BytesIO()
        figure.savefig(file, format="png", dpi=90)
        return f"<img alt='' src='data:image/png;base64,{base64.b64encode(file.getvalue()).decode()}'>"


def describe(scores: xr.Dataset) -> Description:
    """What was asked, what was checked, and how exact the answer is.

    Args:
        scores: an answer of `explaind.influence`, also one that was read from a store.

    Raises:
        QueryError: it is none.
    """
    attrs = scores.attrs
    if "kernel" not in scores or "algorithm" not in attrs:
        raise QueryError(
            "These are no scores of explaind.influence.",
            expected="a Dataset with `kernel` and the attributes of an answer",
            got=", ".join(map(str, scores.data_vars)) or "an empty Dataset",
        )
    sizes = " × ".join(f"{dim} {size:,}" for dim, size in scores["kernel"].sizes.items()) or "one number"
    asked = [
        (
            "explained",
            f"{attrs['target']}" + (f" of the average ({attrs['average']})" if "average" in attrs else ""),
        ),
        ("updates", f"{attrs['start']} to {attrs['stop'] - 1} of {attrs['run']}"),
        ("kept", sizes + (f"; {attrs['importance']}" if "importance" in attrs else "")),
        ("computed", f"{attrs['algorithm']}, {attrs['nodes_mean']:.1f} nodes an update, {attrs['dtype']}"),
    ]
    how = CHECKED.get(str(attrs.get("replay_checked")), str(attrs.get("replay_checked")))
    if "replay_worst" in attrs:
        how += f", at most {attrs['replay_worst']:.1e} of its length off (accepted: {attrs['replay_tolerance']:g})"
    if attrs.get("replay_failed"):
        how += f"; {attrs['replay_failed']} of them were NOT and are counted all the same"
    exact = [("check", how)]
    if "residual" in scores:
        exact += [
            (name, f"at most {float(abs(scores[name]).max()):.2e}")
            for name in ("quadrature", "replay")
            if name in scores
        ]
        exact += (
            [("omitted", f"at most {float(abs(scores['omitted']).max()):.2e}")] if "omitted" in scores else []
        )
        from explaind.plot import parts

        values = parts(scores)
        terms = " ".join(f"{value:+.4g} {name}" for name, value in list(values.items())[1:-1])
        exact.append(("sum", f"{values['initial']:.4g} initial {terms} = {values['final']:.4g}"))
    return Description((*asked, *exact), scores)
