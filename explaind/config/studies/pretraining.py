"""Updates of a language model, by language and between checkpoints."""

from __future__ import annotations

from pydantic import Field

from explaind.config.fields import Count, Positive
from explaind.config.group import Group

__all__ = ["Intervals", "Languages"]


class Languages(Group):
    """Influence of every training language."""

    stride: Count = Field(description="checkpoints from one that is resolved by language to the next")


class Intervals(Group):
    """Every update from a checkpoint to the next."""

    stride: Count = Field(description="checkpoints from one that begins an explained interval to the next")
    tolerance: Positive = Field(
        description="largest residual of an update, as a share of the change of the loss"
    )
    max_nodes: Count = Field(description="backward passes of an update at most")
