"""Options of the studies, each in a file of its own. An experiment's `study` group holds those of the studies it ends in."""

from __future__ import annotations

from explaind.config.studies.datamodel import METHODS, Attribution, Datamodel, Examples
from explaind.config.studies.outputs import CHOICES, Frequencies, Outputs
from explaind.config.studies.pretraining import Intervals, Languages
from explaind.config.studies.proportionality import PART_KINDS, Proportionality
from explaind.config.studies.pruning import PRUNING_METHODS, Pruning
from explaind.config.studies.quadrature import Quadrature
from explaind.config.studies.runs import Runs
from explaind.config.studies.sparse import Sparse
from explaind.config.studies.transplants import PHASES, Swap, Transplant
from explaind.config.studies.windows import Kernel, Periodicity, Windows

__all__ = [
    "CHOICES",
    "METHODS",
    "PART_KINDS",
    "PHASES",
    "PRUNING_METHODS",
    "Attribution",
    "Datamodel",
    "Examples",
    "Frequencies",
    "Intervals",
    "Kernel",
    "Languages",
    "Outputs",
    "Periodicity",
    "Proportionality",
    "Pruning",
    "Quadrature",
    "Runs",
    "Sparse",
    "Swap",
    "Transplant",
    "Windows",
]
