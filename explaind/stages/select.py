"""Choose the seed to explain by the stated rule."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.config.declarations import Stage
from explaind.errors import TrainingError
from explaind.store.files import read_json, write_json

__all__ = ["write"]

STAGE = Stage(
    options=("train.seeds", "train.max_steps", "train.stop_accuracy", "select"),
    requires="verify",
    memory=1000,
    runtime=5,
    priority=9,
)


def write(config: Mapping[str, Any], *, summaries: Sequence[Path] = (), output: Path) -> None:
    """Choose the seed to explain: the first of `train.seeds` whose run reached the stopping rule.

    Without a stopping rule (`train.stop_accuracy` is null) every run is complete at its last step: the first seed is chosen,
    and none needs to be trained for it.

    If none did, `select.fallback` decides: "refuse" stops here, "best" takes the highest final test accuracy (the earlier
    of equals). The JSON written holds the rule in words, the chosen seed, its digest of θ_T and every seed's summary.

    Raises:
        TrainingError: no seed reached the stopping rule, and the fallback is "refuse"; or a seed has no summary.
    """
    seeds = list(config["train"]["seeds"])
    if config["train"]["stop_accuracy"] is None:
        rule = "the first of train.seeds: the run's length is fixed, there is no stopping rule"
        write_json({"seed": seeds[0], "rule": rule, "seeds": seeds, "runs": []}, output)
        return
    known = {entry["seed"]: entry for entry in map(read_json, summaries)}
    if missing := [seed for seed in seeds if seed not in known]:
        raise TrainingError(
            "Some configured seeds have not been trained.",
            expected=f"a summary of each of the seeds {seeds}",
            got=f"none of {missing}",
            remedy="Train these seeds, or take them out of train.seeds.",
        )
    runs = [known[seed] for seed in seeds]
    reached = [run for run in runs if run["reached"]]
    fallback = config["select"]["fallback"]
    if not reached and fallback != "best":
        best = max(run["test_accuracy"] for run in runs)
        raise TrainingError(
            "No seed reached the stopping rule, so there is no run to explain.",
            expected=f"train and test accuracy of at least {config['train']['stop_accuracy']} within "
            f"{config['train']['max_steps']} steps",
            got=f"a final test accuracy of {best:.4f} at best, from seeds {seeds}",
            remedy="Add seeds to train.seeds, raise train.max_steps, or set select.fallback=best.",
        )
    chosen = reached[0] if reached else max(runs, key=lambda run: run["test_accuracy"])
    rule = "the first of train.seeds that reached the stopping rule"
    if not reached:
        rule = "no seed reached the stopping rule: the highest final test accuracy, the first of equals"
    write_json({**chosen, "rule": rule, "seeds": seeds, "runs": runs}, output)
