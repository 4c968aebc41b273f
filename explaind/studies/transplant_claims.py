"""The claims about Figures 3b and 11: which layers of the explained run let new networks generalise at once.

The tables are those of `explaind.studies.generalization` and `explaind.studies.transplant`: one row per network,
and its curves. A combination is judged at the last of the checkpoints it was taken from, unless the claim is about earlier ones.

The thresholds decide verdicts, not results, and each is stated in the finding it decides.
"""

from __future__ import annotations

import pandas as pd

from explaind.errors import DataError
from explaind.studies.finding import Finding, verdict

__all__ = [
    "bypasses_memorisation",
    "control_does_not_generalise",
    "earlier_checkpoints",
    "generalises_soon",
    "which_layers",
]

WITHIN = 200  # updates: "instant generalization within the first training steps"
HALF_GAP = 0.5  # of the run's own largest gap between train and test accuracy


def generalises_soon(table: pd.DataFrame, combination: str, words: str, figure: str) -> Finding:
    """Claim: with these layers a new network generalises at once."""
    part = _last(table, combination)
    soon = int((part.generalized_at <= WITHIN).sum())
    return Finding(
        figure,
        f"A new network that starts with the final {words} generalises within about {WITHIN} updates.",
        f"Networks that start with {words} of the run's last checkpoint, all else drawn anew, one per seed: how many exceed "
        f"train.generalized_accuracy within {WITHIN} updates. Reproduced: all; partly: some.",
        _came_to(part),
        "all seeds",
        verdict(soon == len(part), soon > 0),
    )


def control_does_not_generalise(table: pd.DataFrame) -> Finding:
    """Claim: without transplanted layers nothing of the kind happens."""
    part = _last(table, "nothing")
    never = int(part.generalized_at.isna().sum())
    return Finding(
        "3b, 11",
        "A new network without layers of the run does not generalise in as many updates.",
        f"The same networks with nothing transplanted, {int(part.updates.max())} updates: how many exceed "
        "train.generalized_accuracy. Reproduced: none; partly: not all.",
        _came_to(part),
        "no seed",
        verdict(never == len(part), never > 0),
    )


def bypasses_memorisation(
    table: pd.DataFrame, metrics: pd.DataFrame, combination: str, words: str
) -> Finding:
    """Claim: networks with these layers do not memorise before they generalise."""
    part = _last(table, combination)
    own = float((metrics.train_accuracy - metrics.test_accuracy).max())
    done = part.generalized_at.notna()
    small = done & (part.largest_gap <= HALF_GAP * own)
    return Finding(
        "3b",
        f"With the final {words}, a new network bypasses the memorisation phase.",
        "Largest train accuracy - test accuracy during the training of each network, against the explained "
        "run's. Reproduced: all "
        f"seeds generalise, and their gap is at most {HALF_GAP:.0%} of the run's; partly: some do.",
        f"{int(small.sum())} of {len(part)} seeds; gap {part.largest_gap.mean():.1%} on average "
        f"({part.largest_gap.min():.1%} to {part.largest_gap.max():.1%}), {own:.1%} in the run; "
        f"{int(done.sum())} of {len(part)} generalise",
        "all seeds, a small gap",
        verdict(bool(small.all()), bool(small.any())),
    )


def earlier_checkpoints(table: pd.DataFrame, curves: pd.DataFrame, combination: str, words: str) -> Finding:
    """Claim: layers of earlier checkpoints, of which there must be some, do it too, with a slightly lower accuracy in the end."""
    part = table[table.combination == combination]
    last = int(part.checkpoint_step.max())
    earlier = part[part.checkpoint_step < last]
    of_these = curves[curves.combination == combination]
    common = int(part.updates.min())
    accuracy = of_these[of_these["update"] == common].groupby("checkpoint_step").test_accuracy.mean()
    soon = earlier.assign(soon=earlier.generalized_at <= WITHIN).groupby("checkpoint_step").soon.sum()
    seeds = earlier.groupby("checkpoint_step").seed.count()
    measured = "; ".join(
        f"step {step}: {int(soon[step])} of {seeds[step]} seeds, accuracy {accuracy[step]:.2%}"
        for step in soon.index
    )
    measured += f"; last, step {last}: accuracy {accuracy[last]:.2%}; accuracies after {common} updates"
    full = bool((soon == seeds).all() and (accuracy[soon.index] <= accuracy[last]).all())
    partial = bool((soon > 0).any())
    return Finding(
        "11",
        f"With {words} of earlier checkpoints, a new network also generalises fast, with a slightly lower accuracy.",
        f"For each earlier checkpoint, how many seeds exceed train.generalized_accuracy within {WITHIN} "
        f"updates, and the mean test "
        "accuracy after as many updates as all these trainings have. Reproduced: all seeds at all of them, and no accuracy above "
        "that of the last checkpoint's layers; partly: some seed at some earlier checkpoint.",
        measured,
        "all seeds, lower accuracies",
        verdict(full, partial),
    )


def which_layers(table: pd.DataFrame, inner: str = "attention_linear1", outer: str = "outer") -> Finding:
    """Claim: what carries the run's solution into a new network is attention and linear 1, not the layers around them."""
    counts = {}
    for name in table.combination.unique():
        part = _last(table, name)
        counts[name] = (int(part.generalized_at.notna().sum()), len(part), part.generalized_at.median())
    ranks = {
        name: (found / seeds, -float(at) if found else 0.0) for name, (found, seeds, at) in counts.items()
    }
    order = sorted(ranks, key=lambda name: ranks[name], reverse=True)
    return Finding(
        "3b, 11",
        "Attention and linear 1 carry the representation into a new network, rather than embedding, linear 2 and decoder.",
        "Every combination at its last checkpoint: seeds that generalise, and the median update at which they do. Reproduced: "
        f"{inner} comes before {outer} (more seeds, then fewer updates); partly: both in all seeds.",
        "; ".join(
            f"{name} {counts[name][0]} of {counts[name][1]}"
            + (f" after {float(counts[name][2]):.0f}" if counts[name][0] else "")
            for name in order
        ),
        f"{inner} first",
        verdict(ranks[inner] > ranks[outer], ranks[inner][0] == ranks[outer][0] == 1),
    )


def _last(table: pd.DataFrame, combination: str) -> pd.DataFrame:
    """The networks with the layers of the last checkpoint that this combination was taken from."""
    part = table[table.combination == combination]
    if part.empty:
        raise DataError(
            f"No network was trained with the layers of {combination!r}.",
            expected="a training of each combination that a claim is about",
            got=", ".join(table.combination.unique()),
            remedy="Add it to study.transplant.checkpoints.",
        )
    return part[part.checkpoint_step == part.checkpoint_step.max()]


def _came_to(part: pd.DataFrame) -> str:
    """How many seeds generalised and when, or how far they came."""
    at = part.generalized_at.dropna()
    when = f" after {at.median():.0f} updates ({at.min()} to {at.max()})" if len(at) else ""
    accuracies = f"train {part.train_accuracy.mean():.1%}, test {part.test_accuracy.mean():.1%}"
    return f"{len(at)} of {len(part)} seeds generalise{when}; after {part.updates.max()} updates {accuracies}"
