"""What of a classifier's outputs is explained: log-probabilities of all outputs, logits, or the true class alone.

Notation: z = logits, the activation of a module whose log-softmax the model returns; f = log-softmax(z); y the true class.

    log_probabilities   f_j of every output j (as published)
    logits              z_j of every output j
    true_class          f_y alone

Which claims depend on the choice is derived in docs/method.md, section 11.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from explaind.attribution.problem import make_problem
from explaind.attribution.query import Query
from explaind.errors import ConfigError
from explaind.experiments.experiment import Experiment
from explaind.features.targets import Target
from explaind.recording.trajectory import Trajectory

__all__ = ["LABELS", "NAMES", "check_logits", "summed", "target"]

#: How figures call them.
NAMES = {
    "log_probabilities": "log-probabilities of all outputs",
    "logits": "logits of all outputs",
    "true_class": "log-probability of the true class",
}

#: The same in two lines.
LABELS = {choice: name.replace(" of ", "\nof ") for choice, name in NAMES.items()}

CHECKED = 64  # test samples on which the activation is compared with the outputs
ROUNDING = 1e-4  # nats; float32 logits of size 100 round to about 1e-5


def target(choice: str, module: str) -> Target:
    """What a query decomposes for this choice, with one column for each output that the choice has."""
    targets: dict[str, Target] = {
        "log_probabilities": "output",
        "logits": module,
        "true_class": _true_class,
    }
    return targets[choice]


def summed(choices: Sequence[str], module: str) -> Target:
    """One column for each choice, summed over its outputs: rows of different choices then share one walk over the updates."""
    of_logits: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "log_probabilities": lambda z, y: z.log_softmax(-1).sum(-1),
        "logits": lambda z, y: z.sum(-1),
        "true_class": lambda z, y: _true_class(z.log_softmax(-1), y),
    }
    columns = [of_logits[choice] for choice in choices]

    def choices_summed(z: Tensor, y: Tensor) -> Tensor:
        return torch.stack([column(z, y) for column in columns], dim=-1)

    return (module, choices_summed)


def check_logits(run: Trajectory, experiment: Experiment, module: str) -> None:
    """Is the module's activation the logits of the model's outputs?

    Raises:
        QueryError: the model has no such module, or it has no single activation.
        ConfigError: the activation's log-softmax is not what the model returns.
    """
    few = tuple(part[:CHECKED] for part in experiment.test)

    def values(of: Target) -> Tensor:
        query = Query(target=of, steps=[0])
        problem = make_problem(run, experiment.model, experiment.loss, query, test=few)
        return problem.values(run.n_steps, *problem.test.take(slice(None)))

    activation, outputs = values(module), values("output")
    if activation.shape != outputs.shape:
        got = f"{activation.shape[1]} values for {outputs.shape[1]} outputs"
    else:
        difference = float((activation.log_softmax(-1) - outputs).abs().max())
        if difference <= ROUNDING:
            return
        got = f"values whose log-softmax differs from the outputs by up to {difference:.3g}"
    raise ConfigError(
        f"The activation of the module {module!r} is not the logits of the model's outputs.",
        expected="an activation whose log-softmax the model returns",
        got=got,
        remedy="Set study.outputs.module to the path of the module before the log-softmax.",
    )


def _true_class(outputs: Tensor, targets: Tensor) -> Tensor:
    """The true class's entry of outputs [n, O], [n]; through gather, as vmap needs it."""
    return outputs.gather(-1, targets.unsqueeze(-1)).squeeze(-1)
