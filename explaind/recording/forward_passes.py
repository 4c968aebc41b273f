"""How each forward pass of training ran: modes of the modules, autocast, and the generator's state where numbers were drawn.

A pass that ran like the model in evaluation mode, in the precision of the parameters, needs no note. Of every other one the
note is enough to run it again: the same modules in training mode, the same autocast, the same random numbers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from explaind.errors import RecordingError

Note = list[Any]
"""A pass as the journal holds it: [device, training, switched modules, autocast dtype or None, backward, were numbers drawn]."""


@dataclass(frozen=True)
class Mode:
    """What a forward pass ran under.

    Attributes:
        device: type of the device whose generator it used, such as "cpu".
        training: mode of the model.
        switched: paths of the modules whose mode differs from that of the module they are in, parents first.
        autocast: dtype of torch.autocast, such as "bfloat16"; None without it.
        backward: did the backward pass run under it too?
    """

    device: str
    training: bool
    switched: tuple[str, ...]
    autocast: str | None
    backward: bool = False


@dataclass(frozen=True, eq=False)
class ForwardPass:
    """A forward pass of training that may be more than the model in evaluation mode.

    Attributes:
        mode: what it ran under.
        generator: state of the device's generator before it, uint8; None if it drew no random numbers.
    """

    mode: Mode
    generator: Tensor | None

    def note(self) -> Note:
        """For the journal; the state itself is in an array."""
        mode = self.mode
        return [
            mode.device,
            mode.training,
            list(mode.switched),
            mode.autocast,
            mode.backward,
            self.generator is not None,
        ]


def noted(note: Note, generator: Tensor | None) -> ForwardPass:
    """The pass that a journal's note describes."""
    device, training, switched, autocast, backward, _ = note
    return ForwardPass(Mode(device, training, tuple(switched), autocast, backward), generator)


def unwrapped(model: nn.Module) -> nn.Module:
    """The module inside torch.compile, DataParallel and DistributedDataParallel."""
    while True:
        children = dict(model.named_children())
        if list(children) == ["_orig_mod"]:
            model = children["_orig_mod"]
        elif isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def set_modes(model: nn.Module, mode: Mode) -> None:
    """Put the modules of `model` into the modes they had.

    Raises:
        AttributeError: it has no module of a recorded name.
    """
    model.train(mode.training)
    for name in mode.switched:
        module = model.get_submodule(name)
        module.train(not module.training)


def generator_state(device: torch.device | str) -> Tensor:
    """State of the default generator of a device, uint8."""
    device = torch.device(device)
    return torch.get_rng_state() if device.type == "cpu" else torch.get_device_module(device).get_rng_state()


def set_generator_state(device: torch.device | str, state: Tensor) -> None:
    """Set it back."""
    device = torch.device(device)
    if device.type == "cpu":
        torch.set_rng_state(state)
    else:
        torch.get_device_module(device).set_rng_state(state)


class ForwardWatch:
    """Notes the forward passes of a model that build a graph, from one update to the next.

    Args:
        model: is called as a whole by the training loop.
    """

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self.device = next((p.device for p in model.parameters()), torch.device("cpu")).type
        self._passes: list[ForwardPass] = []
        self._before: Tensor | None = None
        self._handles: list[torch.utils.hooks.RemovableHandle] = []

    def attach(self) -> None:
        """Register the hooks."""
        self._handles = [
            self._model.register_forward_pre_hook(self._begins),
            self._model.register_forward_hook(self._ends),
        ]

    def detach(self) -> None:
        """Remove them."""
        for handle in self._handles:
            handle.remove()
        self._handles = []

    def discard(self, passes: int) -> None:
        """The gradients of so many passes reached no update."""
        self._passes = self._passes[passes:]

    def take(
        self, step: int, batches: int, random: Callable[[], str | None], *, backward: bool = False
    ) -> list[ForwardPass | None]:
        """The pass of each micro-batch of an update; None where evaluation mode gives the same.

        Args:
            step: the update, for messages.
            batches: how many micro-batches were announced.
            random: names a module that draws random numbers in training mode, if there is one.
            backward: did the backward passes run under autocast?

        Raises:
            RecordingError: the passes cannot be told apart, or were not seen.
        """
        passes, self._passes = self._passes, []
        label = random()
        if label is not None and not passes:
            raise RecordingError(
                f"{label}, but no forward pass of the model was seen before update {step}",
                expected="calls of the model that was given to record()",
                got="none",
                remedy="give record() the module that the loop calls, or call .eval() on this one",
            )
        if label is None and all(one.generator is None and one.mode.autocast is None for one in passes):
            return [None] * batches
        if len(passes) != batches:
            passes = [one for one in passes if one.mode.training]
        if len(passes) != batches:
            raise RecordingError(
                f"Update {step} was made of {batches} announced batches and {len(passes)} forward passes with random numbers "
                "or autocast",
                expected="one forward pass for each call of batch()",
                remedy="evaluate under torch.no_grad(), and announce the samples of every forward pass by themselves",
            )
        return [
            replace(one, mode=replace(one.mode, backward=backward)) if one.mode.autocast else one
            for one in passes
        ]

    def _begins(self, *_: Any) -> None:
        self._before = generator_state(self.device) if torch.is_grad_enabled() else None

    def _ends(self, *_: Any) -> None:
        before, self._before = self._before, None
        if before is None:
            return
        drawn = not torch.equal(before, generator_state(self.device))
        self._passes.append(ForwardPass(self._mode(), before if drawn else None))

    def _mode(self) -> Mode:
        model = unwrapped(self._model)
        modes = {name: module.training for name, module in model.named_modules()}
        switched = [
            name
            for name, training in modes.items()
            if name and training != modes.get(name.rpartition(".")[0], training)
        ]
        autocast = None
        if torch.is_autocast_enabled(self.device):
            autocast = str(torch.get_autocast_dtype(self.device)).removeprefix("torch.")
        return Mode(self.device, model.training, tuple(switched), autocast)
