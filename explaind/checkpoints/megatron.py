"""The state of AdamW as Megatron-core fuses it: one file of exp_avg.<fused name> and exp_avg_sq.<fused name>.

The file is safetensors, or torch.save of a dictionary with these keys, flat or nested. Tensors must be whole: those of several
tensor-parallel or distributed-optimizer ranks have to be gathered first. hyperparameters.json beside it holds the fields of
`Hyperparameters`, under transformers' parameter names, and optionally "qkv": "grouped" (default) or "stacked".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from explaind.checkpoints.checks import MOMENT_DTYPES, MOMENTS, check_entry, check_names
from explaind.checkpoints.fused import Fused, layout, split
from explaind.checkpoints.hyperparameters import hyperparameters_from
from explaind.checkpoints.state import find_file
from explaind.checkpoints.tensor_files import SafetensorsFile, TensorFile, TorchFile, read_json_file
from explaind.errors import StoreError

__all__ = ["HYPERPARAMETERS", "MegatronState"]

FILES = ("optimizer.safetensors", "optimizer.pt")
HYPERPARAMETERS = "hyperparameters.json"


class MegatronState:
    """Fused state in one file (see `explaind.checkpoints.state.OptimizerState`).

    Args:
        path: the file, or the folder of an optimizer.safetensors or optimizer.pt.
        config: of the model, as in config.json.

    Raises:
        StoreError: a missing, damaged or truncated file, one that holds code, a missing hyperparameter, or the state of another
            model.
    """

    def __init__(self, path: Path, config: Mapping[str, Any]) -> None:
        self.path = find_file(path, FILES)
        beside = self.path.with_name(HYPERPARAMETERS)
        content = read_json_file(beside)
        options = dict(content) if isinstance(content, Mapping) else content
        qkv = options.pop("qkv", "grouped") if isinstance(options, dict) else "grouped"
        self.hyperparameters = hyperparameters_from(options, beside)
        tensors = layout(config, qkv)
        kind = SafetensorsFile if self.path.suffix == ".safetensors" else TorchFile
        self._file: TensorFile = kind(self.path, f"exp_avg.{tensors[0].names[0]}")
        self._fused_names = {fused: self._named(fused) for fused in tensors}
        expected = [f"{moment}.{name}" for moment in MOMENTS for name in self._fused_names.values()]
        check_names(expected, self._file.entries, lambda name: self.path)
        self._fused = {part: fused for fused in tensors for part in fused.parts}
        self.notes = self._check_shapes()

    def moment(self, kind: str, name: str) -> Tensor:
        """See `OptimizerState.moment`."""
        fused = self._fused[name]
        return self._file.read(
            f"{kind}.{self._fused_names[fused]}", lambda tensor: split(fused, tensor, name)
        )

    def check_files(self) -> None:
        """See `OptimizerState.check_files`: Megatron records no digests."""

    def _named(self, fused: Fused) -> str:
        """The name that the file uses; the first if it uses none, which is then reported as missing."""
        used = [name for name in fused.names if f"exp_avg.{name}" in self._file.entries]
        return used[0] if used else fused.names[0]

    def _check_shapes(self) -> tuple[str, ...]:
        """Raise for a tensor that the configuration does not imply; a note for padding."""
        rows: dict[int, str] = {}
        for fused, name in self._fused_names.items():
            for moment in MOMENTS:
                full = f"{moment}.{name}"
                entry, shape = self._file.entries[full], fused.shape
                if fused.padded and entry.shape:
                    rows.setdefault(entry.shape[0], full)
                    shape = (max(shape[0], entry.shape[0]), *shape[1:])
                check_entry(self.path, full, entry, shape, MOMENT_DTYPES)
        if len(rows) > 1:
            raise StoreError(
                f"The embeddings in {self.path} have different numbers of rows",
                expected="one vocabulary, padded equally",
                got=", ".join(f"{count} in {name}" for count, name in rows.items()),
            )
        padded, vocabulary = next(iter(rows)), next(iter(self._fused_names)).shape[0]
        if padded == vocabulary:
            return ()
        return (
            f"The embeddings in {self.path.name} have {padded} rows for a vocabulary of {vocabulary}: "
            f"the last {padded - vocabulary}, padding, were cut.",
        )
