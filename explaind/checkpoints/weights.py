"""The weights of a checkpoint: config.json beside model.safetensors, or beside shards with their index.

Names are transformers'. Tensors are read one at a time; opening reads the headers only.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from explaind.checkpoints.checks import WEIGHT_DTYPES, check_entry, check_names, check_values
from explaind.checkpoints.llama import parameter_shapes
from explaind.checkpoints.tensor_files import SafetensorsFile, read_json_file
from explaind.errors import StoreError

__all__ = ["CONFIG", "MODEL", "Weights"]

CONFIG = "config.json"
MODEL = "model.safetensors"
INDEX = "model.safetensors.index.json"
_BUFFER = ".rotary_emb.inv_freq"  # older releases of transformers saved it; it follows from the configuration


class Weights:
    """Weights in a folder.

    Args:
        folder: with config.json and the safetensors files.

    Attributes:
        folder: as given.
        config: content of config.json.
        shapes: by name, in the model's order.

    Raises:
        StoreError: a missing or damaged file, or tensors that are not those of the configuration; file and tensor are named.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = read_json_file(folder / CONFIG)
        if not isinstance(self.config, dict):
            raise StoreError(f"{folder / CONFIG} holds no configuration", expected="a dictionary")
        self.shapes = parameter_shapes(self.config, folder / CONFIG)
        planned = self._planned()
        files: dict[str, SafetensorsFile] = {}
        for (
            name
        ) in self.shapes:  # in the model's order, so that a damaged shard is named with its first tensor
            shard = planned.get(name, MODEL)
            if shard not in files:
                files[shard] = SafetensorsFile(folder / shard, name)
        self._files = {
            name: file for file in files.values() for name in file.entries if not name.endswith(_BUFFER)
        }

        def where(name: str) -> Path:
            return self._files[name].path if name in self._files else folder / planned.get(name, MODEL)

        check_names(self.shapes, self._files, where)
        for name, shape in self.shapes.items():
            file = self._files[name]
            check_entry(file.path, name, file.entries[name], shape, WEIGHT_DTYPES)

    def read(self, name: str) -> Tensor:
        """A tensor of shape `shapes[name]`, in the dtype it is stored in, the caller's own."""
        return self._files[name].read(name)

    def verify(self) -> None:
        """Read every tensor; raises StoreError unless all values are finite."""
        for name in self.shapes:
            check_values(self._files[name].path, name, self.read(name))

    def _planned(self) -> dict[str, str]:
        """Shard by tensor, as the index says; empty for weights in one file."""
        if (self.folder / MODEL).is_file():
            return {}
        if not (self.folder / INDEX).is_file():
            others = sorted(path.name for path in self.folder.glob("*.bin"))
            raise StoreError(
                f"There are no weights in {self.folder}",
                expected=f"{MODEL}, or {INDEX} and its shards",
                got=f"{others[0]}, a pickle" if others else "neither",
                remedy="convert the weights to safetensors: a pickle can run any code"
                if others
                else "check the path, or copy the file again",
            )
        content = read_json_file(self.folder / INDEX)
        planned = content.get("weight_map") if isinstance(content, dict) else None
        if not isinstance(planned, dict) or not planned:
            raise StoreError(
                f"{self.folder / INDEX} names no shards", expected="a dictionary weight_map: tensor → file"
            )
        for name, shard in planned.items():
            if not isinstance(shard, str) or Path(shard).name != shard:
                raise StoreError(
                    f"{self.folder / INDEX} names a file outside its folder for {name}",
                    expected="the name of a file beside it",
                    got=repr(shard),
                )
        named = {name: shard for name, shard in planned.items() if not name.endswith(_BUFFER)}
        check_names(self.shapes, named, lambda name: self.folder / INDEX)
        return named
