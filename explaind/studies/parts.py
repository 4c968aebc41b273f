"""Groups of parameters on which interventions act: layers, attention heads, neurons, single parameters.

A group is a set of positions in the flat parameter vector θ [D]. Groups of one kind do not overlap, and need not cover θ. The
score of a group is the sum of the scores of its parameters: influences add up over parameters.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from explaind.errors import ConfigError
from explaind.experiments.experiment import Experiment
from explaind.recording.layout import Layout

__all__ = ["LEAST", "enough", "make_parts"]

LEAST = 5  # points below which a correlation has no interval worth the name


def make_parts(
    kind: str, experiment: Experiment, layout: Layout, options: Mapping[str, Any], draw: int
) -> dict[str, Tensor]:
    """Group name → positions in θ, int64.

    Args:
        kind: "layer", the experiment's layers; "head", its attention heads; "neuron", the units of modules: a row of the weight
            with its bias; "parameter", single ones.
        experiment: names layers and heads, and has the modules.
        layout: of the flat vector.
        options: `study.proportionality`: `units` (paths of modules), `neurons`, `parameters` (how many are drawn), `seed`.
        draw: a number that tells windows apart, so that each draws its own neurons and parameters.

    Raises:
        ConfigError: an unknown kind; heads of a model that has none; a module that does not exist or has no units.
    """
    if kind == "layer":
        return {name: _positions(layout, members) for name, members in experiment.groups.items()}
    if kind == "head":
        if not experiment.heads:
            raise ConfigError(
                f"The model of {experiment.name} has no attention heads of its own parameters.",
                expected="an experiment that names its heads",
                got="none",
                remedy="Leave 'head' out of study.proportionality.kinds.",
            )
        return {name: _positions(layout, members) for name, members in experiment.heads.items()}
    generator = torch.Generator().manual_seed(options["seed"] * 1_000_003 + draw)
    if kind == "neuron":
        units = [unit for path in options["units"] for unit in _units(path, experiment.model, layout)]
        chosen = torch.randperm(len(units), generator=generator)[: options["neurons"]].tolist()
        return dict(units[i] for i in chosen)
    if kind == "parameter":
        slices = layout.slices()
        names = [name for name in layout.names for _ in range(slices[name].start, slices[name].stop)]
        drawn = torch.randperm(layout.size, generator=generator)[: options["parameters"]]
        return {
            f"{names[p]}[{p - slices[names[p]].start}]": drawn[i : i + 1]
            for i, p in enumerate(drawn.tolist())
        }
    raise ConfigError(
        f"There are no groups of parameters called {kind!r}.",
        expected="layer, head, neuron or parameter",
        got=repr(kind),
        remedy="Correct study.proportionality.kinds.",
    )


def enough(kind: str, groups: int, windows: int) -> None:
    """Check that an interval can be made.

    Raises:
        ConfigError: fewer groups of the kind, over all windows, than `LEAST`.
    """
    if groups * windows < LEAST:
        raise ConfigError(
            f"There are too few groups of the kind {kind!r} for the interval of a correlation.",
            expected=f"at least {LEAST} over all windows",
            got=f"{groups} in {windows} windows",
            remedy="Add windows to study.proportionality, raise study.proportionality.retrained, or leave the kind out.",
        )


def _positions(layout: Layout, members: Iterable[str]) -> Tensor:
    slices = layout.slices()
    return torch.cat([torch.arange(slices[name].start, slices[name].stop) for name in members])


def _units(path: str, model: nn.Module, layout: Layout) -> Sequence[tuple[str, Tensor]]:
    """The units of one module: name → positions of its weights and bias."""
    modules = dict(model.named_modules())
    if not isinstance(module := modules.get(path), nn.Linear | nn.Conv2d):
        known = [name for name, one in modules.items() if isinstance(one, nn.Linear | nn.Conv2d)]
        raise ConfigError(
            f"The model has no module called {path!r} with units.",
            expected=f"linear or convolution modules: {', '.join(known)}",
            got=repr(path) if module is None else f"{path!r}, a {type(module).__name__}",
            remedy="Correct study.proportionality.units.",
        )
    count, slices = module.weight.shape[0], layout.slices()
    names = [f"{path}.{name}" for name, _ in module.named_parameters(recurse=False)]
    rows = [torch.arange(slices[name].start, slices[name].stop).reshape(count, -1) for name in names]
    return [(f"{path}, unit {i}", torch.cat([part[i] for part in rows])) for i in range(count)]
