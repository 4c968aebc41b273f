"""The claims about Figure 10 and the swap curve: what the last checkpoint's layers do to earlier checkpoints, without training.

The tables are those of `explaind.studies.swap` (accuracies by step and combination) and
`explaind.tables.swap_errors`. A change is resolved if its 95 % interval excludes 0. The thresholds decide
verdicts, not results, and each is stated in its finding.
"""

from __future__ import annotations

import pandas as pd

from explaind.studies.finding import Finding, verdict

__all__ = ["cyclic_errors_shrink", "others_decrease", "outer_layers_improve"]

CONSISTENT = 0.95  # of the resolved checkpoints


def outer_layers_improve(curves: pd.DataFrame, outer: str, phases: dict[str, int | None]) -> Finding:
    """Claim: the last checkpoint's outer layers consistently improve the predictions of earlier checkpoints."""
    part = curves[curves.combination == outer]
    better, worse = int((part.low > 0).sum()), int((part.high < 0).sum())
    best = part.loc[part.difference.idxmax()]
    generalised = phases["generalization_step"]
    when = "the run does not generalise"
    if generalised is not None:
        late = part[(part.step >= generalised) & (part.step < part.step.max())]
        when = f"from generalisation on (step {generalised}) {late.difference.mean():+.2%} on average"
    share = better / (better + worse) if better + worse else 0.0
    return Finding(
        "swap curve",
        "The final embedding, linear 2 and decoder consistently improve the predictions of earlier checkpoints.",
        f"Change of test accuracy by swapping {outer} of the last checkpoint into every earlier one: checkpoints at which it is "
        f"resolved and positive, among those at which it is resolved. Reproduced: at least {CONSISTENT:.0%}; "
        f"partly: at least half.",
        f"better at {better}, worse at {worse}, not resolved at {len(part) - better - worse} checkpoints; largest change "
        f"{best.difference:+.1%} at step {int(best.step)}; {when}",
        "better wherever it is resolved",
        verdict(share >= CONSISTENT, share >= 0.5),
    )


def others_decrease(curves: pd.DataFrame, outer: str) -> Finding:
    """Claim: all other combinations of the last checkpoint's layers decrease the accuracy of earlier checkpoints."""
    words, shares = [], []
    for name, part in curves[curves.combination != outer].groupby("combination", sort=False):
        better, worse = int((part.low > 0).sum()), int((part.high < 0).sum())
        shares.append(worse / (better + worse) if better + worse else 0.0)
        words.append(
            f"{name}: better at {better}, worse at {worse}, {part.difference.mean():+.1%} on average"
        )
    return Finding(
        "swap curve",
        "Other combinations of the final layers decrease the accuracy of earlier checkpoints.",
        "The same for every other combination. Reproduced: each is worse at "
        f"{CONSISTENT:.0%} of the checkpoints at which it is resolved; partly: one is at half of them.",
        "; ".join(words),
        "worse wherever it is resolved",
        verdict(bool(shares) and min(shares) >= CONSISTENT, bool(shares) and max(shares) >= 0.5),
    )


def cyclic_errors_shrink(cyclic: pd.DataFrame) -> Finding:
    """Claim: systematic cyclic off-diagonal errors are reduced by swapping in the final outer layers."""
    rows = {
        key: part.set_index("measure") for key, part in cyclic.groupby(["checkpoint", "step"], sort=False)
    }
    shrinks = [part.loc["cyclic errors"].high < 0 for part in rows.values()]
    less_cyclic = [part.loc["cyclic share"].high < 0 for part in rows.values()]
    words = []
    for (name, step), part in rows.items():
        errors, amount, share = (part.loc[key] for key in ("errors", "cyclic errors", "cyclic share"))
        words.append(
            f"{name} (step {step}): errors {errors.original:.1%} to {errors.swapped:.1%}; cyclic errors at frequency "
            f"{amount.frequency:.0f} {amount.original:.1%} to {amount.swapped:.1%}, change {amount.change:+.1%} "
            f"({amount.low:+.1%} to {amount.high:+.1%}); of the errors {share.original:.0%} to {share.swapped:.0%}"
        )
    return Finding(
        "10",
        "Systematic cyclic off-diagonal errors shrink when the final outer layers are swapped in.",
        "Cyclic errors |sum over errors of exp(2 pi i k d / modulus)| / tests, d the label difference and k the "
        "frequency of both networks' errors together, at two checkpoints, with a bootstrap interval of the change over tests. "
        "Reproduced: they shrink at both, and so does their share of the errors; partly: they shrink at one "
        "(fewer errors, but not necessarily less cyclic "
        "ones).",
        "; ".join(words),
        "smaller, and a smaller share of the errors",
        verdict(all(shrinks) and all(less_cyclic), any(shrinks)),
    )
