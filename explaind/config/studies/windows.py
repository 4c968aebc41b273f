"""Windows of updates that are explained sample by sample, and the cycles in their kernels."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pydantic import Field

from explaind.config.fields import Count, Pair, Positive, PowerOfThree, Several, Starts, Weight
from explaind.config.group import Group, Wrong
from explaind.config.recorded import Recorded
from explaind.config.studies.common import NODES, TAIL

__all__ = ["Kernel", "Periodicity", "Windows"]


class Windows(Group):
    """Stretches of training that are explained sample by sample."""

    positions: Starts = Field(
        description="name → first update of a window, in a run that stops at reference_stop"
    )
    width: Count = Field(description="updates in a window")
    reference_stop: Count = Field(description="positions are scaled by the run's last update over this one")

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        for name, start in self.positions.items():
            if start + self.width > self.reference_stop:
                expected = f"a window that ends by reference_stop {self.reference_stop}"
                yield f"study.windows.positions.{name}", expected, start


class Kernel(Group):
    """The test × train kernels of the windows."""

    train: Count = Field(description="training samples of a kernel: the first ones")
    tests: Several = Field(description="test samples of a kernel: the first ones")
    tolerance: Positive = Field(description="largest residual of each row, which sums all outputs")
    max_nodes: PowerOfThree = Field(description=NODES)
    tail_tolerance: Weight = Field(description=TAIL)

    def wrong(self, whole: Recorded) -> Iterator[Wrong]:
        for key, limit in (("train", whole.data.train), ("tests", whole.data.test)):
            if (got := getattr(self, key)) > limit:
                yield f"study.kernel.{key}", f"at most the {limit} samples of the data set", got


class Periodicity(Group):
    """Periods in kernels and parameters."""

    alpha: Positive = Field(description="penalty of the Lasso")
    periods: Pair[Several] = Field(description="the first period and the last")

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        if self.periods[0] > self.periods[1]:
            yield "study.periodicity.periods", "the first period, then the last", self.periods
        windows = getattr(whole, "study", None) and getattr(whole.study, "windows", None)
        if windows is not None and "late" not in windows.positions:
            expected = "a window called late: study.periodicity describes it"
            yield "study.windows.positions", expected, list(windows.positions)
