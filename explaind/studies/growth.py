"""How importances grow and fall over training: the claims about Figure 3a, measured on curves over steps.

Notation: a curve is a float array `[T]` over steps s = 0…T−1 in output units summed over tests and outputs (method.md, section 3:
B({s})). Before anything is compared, curves are smoothed by a centred moving average over `SMOOTH_SHARE` of the run.
`onset` is the step at which memorisation begins, `memorised` the one at which it is complete.

The thresholds decide verdicts, not results, and each is stated in the finding it decides.
"""

from __future__ import annotations

import numpy as np

from explaind.studies.finding import Finding, verdict

__all__ = [
    "decoder_leads_memorisation",
    "decoder_second_peak",
    "embedding_rises_late",
    "grow_together",
    "peak_and_decline",
    "regularization_dominates_end",
    "smooth",
]

SMOOTH_SHARE = 0.025  # 48 of 1,939 steps: shorter than any phase, longer than the oscillation between steps
END_SHARE = 0.05  # the last twentieth of the run is "the end"
PROMINENCE = 0.05  # a peak stands out by this share of its curve's largest value
MIDDLE = ("att. encoder", "att. decoder", "linear 1", "linear 2")
_SMOOTHED = f"smoothed over {SMOOTH_SHARE:.1%} of the run"


def smooth(curve: np.ndarray, width: int | None = None) -> np.ndarray:
    """Centred moving average over `width` steps (default: `SMOOTH_SHARE` of the run); near the ends over fewer."""
    curve = np.asarray(curve, dtype=np.float64)
    half = (max(1, round(SMOOTH_SHARE * len(curve))) if width is None else width) // 2
    total = np.concatenate([[0.0], np.cumsum(curve)])
    index = np.arange(len(curve))
    low, high = np.maximum(index - half, 0), np.minimum(index + half + 1, len(curve))
    return (total[high] - total[low]) / (high - low)


def grow_together(kernel: np.ndarray, regularization: np.ndarray, onset: int) -> Finding:
    """Claim: kernel and regularization importance grow together from memorisation on."""
    from scipy.stats import spearmanr  # takes as long as drawing a figure, which needs `smooth` alone

    a, b = smooth(kernel), smooth(regularization)
    peak = onset + int(a[onset:].argmax())
    growth_a, growth_b = a[peak] / a[onset], b[peak] / b[onset]
    rank = (
        float(spearmanr(a[onset : peak + 1], b[onset : peak + 1]).statistic)
        if peak - onset > 2
        else float("nan")
    )
    return Finding(
        "3a",
        "Kernel and regularization influence grow together from memorisation on.",
        f"Spearman correlation of B and B_reg ({_SMOOTHED}) between the onset of memorisation and the peak of B, "
        "and growth of each in between. Reproduced: correlation at least 0.9 and both at least double; partly: "
        "correlation at least 0.5 and both grow.",
        f"correlation {rank:.3f} from step {onset} to {peak}; B grows {growth_a:.2f}-fold, B_reg {growth_b:.2f}-fold",
        "correlation close to 1, both grow",
        verdict(rank >= 0.9 and min(growth_a, growth_b) >= 2, rank >= 0.5 and min(growth_a, growth_b) > 1),
        rank,
    )


def peak_and_decline(kernel: np.ndarray, regularization: np.ndarray, onset: int) -> Finding:
    """Claim: after memorisation both peak at about the same time and decline."""
    curves = [smooth(curve) for curve in (kernel, regularization)]
    peaks = [onset + int(curve[onset:].argmax()) for curve in curves]
    last = _end(len(kernel))
    left = [curve[last:].mean() / curve[peak] for curve, peak in zip(curves, peaks, strict=True)]
    apart = abs(peaks[0] - peaks[1]) / len(kernel)
    return Finding(
        "3a",
        "Both influences peak near the same step and then decline.",
        f"Step of the largest B and B_reg after the onset of memorisation ({_SMOOTHED}) and the mean over the last "
        f"{END_SHARE:.0%} of steps relative to it. Reproduced: peaks at most 10% of the run apart and both end at "
        "80% of the peak or less; partly: at least one ends there.",
        f"B peaks at step {peaks[0]} and ends at {left[0]:.0%} of it, B_reg at {peaks[1]} and {left[1]:.0%}",
        "peaks together, ends lower",
        verdict(apart <= 0.1 and max(left) <= 0.8, min(left) <= 0.8),
        float(max(left)),
    )


def regularization_dominates_end(kernel: np.ndarray, regularization: np.ndarray) -> Finding:
    """Claim: in the final phase the regularization importance exceeds that of the kernel."""
    last = _end(len(kernel))
    difference = (
        np.asarray(kernel, dtype=np.float64)[last:] - np.asarray(regularization, dtype=np.float64)[last:]
    )
    share = float((difference < 0).mean())
    relative = difference.mean() / np.mean(np.asarray(kernel, dtype=np.float64)[last:])
    return Finding(
        "3a",
        "Regularization dominates at the end.",
        f"Mean of B - B_reg over the last {END_SHARE:.0%} of steps (relative to B), and the share of these steps in which "
        "B_reg is larger. Reproduced: negative mean and share at least 90%; partly: negative mean.",
        f"{relative:+.2%} of B; B_reg is larger in {share:.0%} of the steps",
        "negative, in nearly all steps",
        verdict(relative < 0 and share >= 0.9, relative < 0),
        float(relative),
    )


def decoder_leads_memorisation(layers: dict[str, np.ndarray], onset: int, memorised: int) -> Finding:
    """Claim: while the training set is memorised the decoder is the most influential layer."""
    window = slice(onset, max(memorised, onset) + 1)
    means = {name: float(np.mean(curve[window])) for name, curve in layers.items()}
    leader = max(means, key=means.__getitem__)
    stacked = np.stack([curve[window] for curve in layers.values()])
    share = float((stacked.argmax(0) == list(layers).index("decoder")).mean())
    order = sorted(means, key=means.__getitem__, reverse=True)
    return Finding(
        "3a",
        "The decoder leads memorisation.",
        "Mean B of each layer from the onset of memorisation to its completion, and the share of these steps in which the "
        "decoder's B is the largest. Reproduced: largest mean and at least half of the steps; partly: one of the two.",
        f"steps {onset} to {memorised}: {leader} leads; decoder is first in {share:.0%} of the steps; means "
        + ", ".join(f"{name} {means[name]:.4g}" for name in order),
        "the decoder has the largest mean",
        verdict(leader == "decoder" and share >= 0.5, leader == "decoder" or share >= 0.5),
        share,
    )


def decoder_second_peak(layers: dict[str, np.ndarray], onset: int) -> Finding:
    """Claim: the decoder peaks a second time, after the peaks of the attention and linear layers."""
    decoder = smooth(layers["decoder"])
    peaks = [p for p in _peaks(decoder) if p >= onset]
    measured, full, partial = f"the decoder has {len(peaks)} peak(s) after step {onset}", False, False
    if len(peaks) >= 2:
        first, second = peaks[0], max(peaks[1:], key=decoder.__getitem__)
        highest = {name: first + int(smooth(layers[name])[first:].argmax()) for name in MIDDLE}
        before = [name for name in MIDDLE if highest[name] < second]
        full, partial = len(before) == len(MIDDLE), bool(before)
        measured = f"decoder peaks at steps {first} and {second}; " + ", ".join(
            f"{name} at {step}" for name, step in highest.items()
        )
    return Finding(
        "3a",
        "The decoder has a second peak, after the attention and linear layers.",
        f"Peaks of the decoder's B ({_SMOOTHED}) after the onset of memorisation that stand out by at least {PROMINENCE:.0%} of "
        "its largest value: the first, and the highest later one. Highest B of each middle layer after the decoder's first "
        "peak. Reproduced: all four come before the second peak; partly: some do.",
        measured,
        "two peaks, the middle layers' in between",
        verdict(full, partial),
        len(peaks),
    )


def embedding_rises_late(layers: dict[str, np.ndarray], onset: int) -> Finding:
    """Claim: the embedding's importance rises later than the other layers' and keeps rising."""
    half = {name: _half_rise(smooth(curve), onset) for name, curve in layers.items()}
    embedding = np.asarray(layers["embedding"], dtype=np.float64)
    tenth = max(1, len(embedding) // 10)
    before, last = embedding[-2 * tenth : -tenth].mean(), embedding[-tenth:].mean()
    late = all(half["embedding"] > step for name, step in half.items() if name != "embedding")
    return Finding(
        "3a",
        "The embedding rises late and keeps rising.",
        f"Step after the onset of memorisation at which each layer's B ({_SMOOTHED}) first reaches half of its largest later "
        "value; mean B of the embedding in the last tenth of the run against the tenth before. Reproduced: the embedding "
        "is the last to reach half, and the last tenth is higher; partly: one of the two.",
        ", ".join(f"{name} {step}" for name, step in half.items()) + f"; last tenth {last / before - 1:+.1%}",
        "the embedding is last, and rises",
        verdict(late and last > before, late or last > before),
        float(last / before - 1),
    )


def _end(steps: int) -> int:
    """First step of the end of the run."""
    return steps - max(1, round(END_SHARE * steps))


def _peaks(curve: np.ndarray) -> list[int]:
    """Steps of the peaks that stand out by `PROMINENCE` of the curve's largest value."""
    from scipy.signal import find_peaks  # likewise

    return find_peaks(curve, prominence=PROMINENCE * curve.max())[0].tolist()


def _half_rise(curve: np.ndarray, onset: int) -> int:
    """First step from `onset` on at which the curve reaches half of its largest value from there on."""
    later = curve[onset:]
    return onset + int((later >= later.max() / 2).argmax())
