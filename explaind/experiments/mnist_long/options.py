"""The whole configuration of the longer MNIST run: data and model are MNIST's."""

from __future__ import annotations

from explaind.config.group import Group
from explaind.config.recorded import Recorded
from explaind.config.studies import Attribution, Datamodel, Sparse
from explaind.experiments.mnist.options import Digits, Network

__all__ = ["Options"]


class Study(Group):
    """What the experiment ends in."""

    sparse: Sparse
    attribution: Attribution
    datamodel: Datamodel


class Options(Recorded):
    """MNIST over five epochs."""

    data: Digits
    model: Network
    study: Study
