"""Training a language model, one update at a time, from its initial parameters or from any checkpoint.

Notation: θ_s are the parameters before update s. A checkpoint "after s updates" holds θ_s and the moments before update s, and
the hyperparameters of update s: everything that the update needs but its batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from explaind.checkpoints import Checkpoint, Hyperparameters, TrainingState, write_checkpoint
from explaind.errors import TrainingError
from explaind.experiments.language.pretraining import Pretraining
from explaind.runtime.device import find_device
from explaind.training.schedule import learning_rate

__all__ = ["Trainer"]

EVALUATED = 16  # sequences in one forward pass of an evaluation


class Trainer:
    """The model, its optimizer and the batches, at some step; `step()` makes one update.

    Args:
        config: resolved configuration.
        experiment: data and model.
        checkpoint: where to continue; None: from the initial parameters.
    """

    def __init__(
        self, config: Mapping[str, Any], experiment: Pretraining, checkpoint: Checkpoint | None = None
    ) -> None:
        self._config, self._experiment = config, experiment
        self._device = find_device()
        self.model = experiment.make_model().to(self._device)
        self._batches = experiment.batches()
        options = config["optimizer"]
        # Megatron's recipe, and EuroLLM's: vectors (the norms) are not decayed.
        self._undecayed = tuple(name for name, p in self.model.named_parameters() if p.dim() < 2)
        groups: dict[float, list[nn.Parameter]] = {options["weight_decay"]: [], 0.0: []}
        for name, parameter in self.model.named_parameters():
            groups[0.0 if name in self._undecayed else options["weight_decay"]].append(parameter)
        self.optimizer = torch.optim.AdamW(
            [{"params": params, "weight_decay": decay} for decay, params in groups.items() if params],
            lr=options["lr"],
            betas=tuple(options["betas"]),
            eps=options["eps"],
        )
        self.done = 0
        if checkpoint is not None:
            self._restore(checkpoint)

    def batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Sequences [B, T] of update `step`, and their languages [B]."""
        chosen = self._batches(step)
        tokens = self._experiment.tokens
        return tokens.train[chosen].to(self._device), tokens.train_language[chosen]

    def step(self) -> tuple[Tensor, float]:
        """One update: the loss of each sequence of its batch before it [B], and the norm of the gradient before clipping.

        Raises:
            TrainingError: the gradient is not finite.
        """
        sequences, _ = self.batch(self.done)
        self.optimizer.zero_grad()
        losses = self._experiment.architecture.losses(self.model, sequences)
        losses.mean().backward()
        return losses.detach(), self.apply()

    def apply(self) -> float:
        """Let the optimizer make update `done` with the gradient that the parameters hold; its norm before clipping.

        Raises:
            TrainingError: the gradient is not finite.
        """
        limit = self._config["train"]["clip_norm"]
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), float("inf") if limit is None else limit)
        if not torch.isfinite(norm):
            raise TrainingError(
                f"The gradient of update {self.done} is not finite.",
                got=f"norm {float(norm)}",
                remedy="Lower optimizer.lr, or lengthen train.warmup.",
            )
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self._config, self.done)
        self.optimizer.step()
        self.done += 1
        return float(norm)

    def hyperparameters(self) -> Hyperparameters:
        """Of the next update."""
        options = self._config["optimizer"]
        return Hyperparameters(
            step=self.done,
            lr=learning_rate(self._config, self.done),
            betas=tuple(options["betas"]),
            eps=options["eps"],
            weight_decay=options["weight_decay"],
            undecayed=self._undecayed,
            clip_norm=self._config["train"]["clip_norm"],
        )

    def state(self) -> TrainingState:
        """The present state as a checkpoint, with the learning rate of the next update."""
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate(self._config, self.done)
        return TrainingState(
            self.model,
            self.optimizer,
            clip_norm=self._config["train"]["clip_norm"],
            name=f"update {self.done}",
        )

    def save(self, folder: Path) -> None:
        """Write a checkpoint of the present step."""
        write_checkpoint(folder, self.model, self.optimizer, self.hyperparameters(), self._experiment.config)

    @torch.no_grad()
    def evaluate(self, sequences: Tensor) -> Tensor:
        """The loss of each sequence [n]."""
        parts = sequences.to(self._device).split(EVALUATED)
        return torch.cat([self._experiment.architecture.losses(self.model, part) for part in parts]).cpu()

    def _restore(self, checkpoint: Checkpoint) -> None:
        checkpoint.load_weights(self.model)
        self.done = checkpoint.hyperparameters.step
        names = {parameter: name for name, parameter in self.model.named_parameters()}
        for group in self.optimizer.param_groups:
            for parameter in group["params"] if self.done else ():
                name = names[parameter]
                self.optimizer.state[parameter] = {
                    "step": torch.tensor(float(self.done)),
                    "exp_avg": checkpoint.exp_avg(name).to(parameter),
                    "exp_avg_sq": checkpoint.exp_avg_sq(name).to(parameter),
                }
