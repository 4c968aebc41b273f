"""The optimizer's state between two updates: nothing else may change it.

The next update is explained by the momentum that the updates before it built. A buffer that was zeroed, replaced or scaled in
between breaks that recursion without any other trace, so its norm and the step counters are taken after every update and compared
before the next.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from explaind.errors import RecordingError
from explaind.recording.together import Together


class StateWatch:
    """Compares the state of an optimizer with what its last update left.

    Args:
        optimizer: whose state is watched.
        parameters: the tensors that it moves.
    """

    def __init__(self, optimizer: Optimizer | Together, parameters: Sequence[Tensor]) -> None:
        self._optimizer, self._parameters = optimizer, parameters
        self.note()

    def note(self) -> None:
        """Remember the state as it is now."""
        self._present, self._norms = self._read()

    def check(self, step: int, *, resets: bool = True) -> tuple[int, ...]:
        """Compare with what was remembered.

        Args:
            step: the coming update.
            resets: can a tensor begin again without any state, as after `optimizer.state.clear()`?

        Returns:
            the tensors that do.

        Raises:
            RecordingError: a buffer or a step counter is not as the update before `step` left it.
        """
        before, (present, norms) = (self._present, self._norms), self._read()
        lost = [i for i, state in enumerate(before[0]) if state is not None and present[i] is None]
        if not lost and present == before[0] and torch.equal(norms, before[1]):
            return ()
        kept = [i for i in range(len(present)) if i not in lost]
        same = all(present[i] == before[0][i] for i in kept) and torch.equal(norms[kept], before[1][kept])
        if lost and same and resets:
            return tuple(lost)
        raise RecordingError(
            f"The optimizer's state was changed before update {step}",
            expected="momentum and step counters exactly as the update before left them",
            got="a buffer or a counter that was reset, replaced or edited",
            remedy="leave the optimizer's state alone while it is recorded, or record the parts as separate runs",
        )

    def _read(self) -> tuple[list[int | None], Tensor]:
        """Step counter, or number of state tensors, of each parameter; norms of the momentum buffers [tensors], −1 for none.

        The second moment is not unrolled but recorded, so an edit of it is part of what is explained.
        """
        present: list[int | None] = []
        buffers, owners = [], []
        for parameter in self._parameters:
            state = self._optimizer.state.get(parameter)
            if not state:
                present.append(None)
                continue
            counter = state.get("step")
            on_cpu = isinstance(counter, Tensor) and counter.device.type == "cpu"
            present.append(int(counter) if on_cpu and not present else len(state))
            buffer = state.get("exp_avg", state.get("momentum_buffer"))
            if buffer is not None:
                buffers.append(buffer if buffer.layout == torch.strided else buffer.coalesce().values())
                owners.append(len(present) - 1)
        if not buffers:
            return present, torch.full((len(present),), -1.0)
        norms = torch._foreach_norm(buffers)
        if any(norm.device != norms[0].device for norm in norms):
            norms = [norm.to(norms[0].device) for norm in norms]
        found = torch.stack(norms).nan_to_num()
        every = torch.full((len(present),), -1.0, dtype=found.dtype, device=found.device)
        every[owners] = found
        return present, every
