"""Rebuild every recorded update from its terms and compare it with the observed one, before anything is explained."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explaind.attribution.certificate import verify
from explaind.config.declarations import Stage
from explaind.errors import CertificateError
from explaind.experiments.runs import open_run
from explaind.store import write_dataset

__all__ = ["write"]

STAGE = Stage(options=("verify",), requires="verify", memory=2000, runtime=60, gpu=True, priority=8)


def write(config: Mapping[str, Any], *, trajectory: Path, output: Path) -> None:
    """Certify the replay of an experiment's recorded run, as a store "certificate".

    Raises:
        CertificateError: an update cannot be rebuilt within `verify.tolerance`; nothing is attributed then.
    """
    run, experiment = open_run(trajectory)
    tolerance = config["verify"]["tolerance"]
    dataset = verify(
        run, experiment.model, experiment.loss, train=experiment.training, replay_tolerance=tolerance
    )
    if not dataset.attrs["passed"]:
        worst = int(dataset["replay_relative"].values.argmax())
        raise CertificateError(
            f"The recorded run does not follow from its batches: update {int(dataset.step[worst])} differs most.",
            expected=f"a relative difference of at most {tolerance:g}",
            got=f"{float(dataset['replay_relative'][worst]):.3g}",
            remedy="Record the run again with the present code and configuration.",
        )
    write_dataset(dataset, output, kind="certificate")
