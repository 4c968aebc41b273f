"""What of the outputs is explained, and frequencies over training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, get_args

from pydantic import Field

from explaind.config.fields import Count, Distinct, Positive, PowerOfThree, Several, Text, Weight
from explaind.config.group import Group, Wrong
from explaind.config.studies.common import NODES, TAIL, unknown_modules

__all__ = ["CHOICES", "Frequencies", "Outputs"]

Choice = Literal["log_probabilities", "logits", "true_class"]
#: What of the outputs can be explained (`explaind.studies.choices`): the first is the paper's.
CHOICES: tuple[str, ...] = get_args(Choice)


class Outputs(Group):
    """What of the outputs is explained: the same figures for several choices (docs/method.md, section 11)."""

    choices: Distinct[Choice] = Field(description="what is explained")
    module: Text = Field(description="path of the module whose activation is the logits")
    stride: Count = Field(description="updates from one explained update to the next (figure 3a)")
    tests: Count = Field(description="test samples of importances and similarities: the first ones")
    kernel_tests: Several = Field(description="test samples of a kernel: the first ones")
    width: Count = Field(description="updates of a window that are explained: its last ones")
    tolerance: Positive = Field(description="largest residual of each step, test sample and output")
    max_nodes: PowerOfThree = Field(description=NODES)
    tail_tolerance: Weight = Field(description=TAIL)

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        for key in ("tests", "kernel_tests"):
            if (got := getattr(self, key)) > whole.data.test:
                yield f"study.outputs.{key}", f"at most the {whole.data.test} test samples", got
        if self.width > whole.study.windows.width:
            expected = f"at most study.windows.width, {whole.study.windows.width}"
            yield "study.outputs.width", expected, self.width
        yield from unknown_modules("study.outputs.module", [self.module], whole)


class Frequencies(Group):
    """Power of every frequency over training."""

    parameters: Distinct[Text] = Field(
        description="matrices whose first rows belong to the numbers 0…modulus − 1"
    )
    stride: Count = Field(description="updates from one that is measured to the next")

    def wrong(self, whole: Any) -> Iterator[Wrong]:
        modules = [name.rpartition(".")[0] for name in self.parameters]
        yield from unknown_modules("study.frequencies.parameters", modules, whole)
