"""Begin a store: decide what θ is, and write everything that will not change during the run."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from explaind.errors import ConfigError
from explaind.recording import schema
from explaind.recording.checks import option_flags
from explaind.recording.layout import Layout
from explaind.recording.observer import Observer
from explaind.recording.remaking import Remaking
from explaind.recording.state import flat_copy, read_state
from explaind.recording.together import Together
from explaind.store import ArraySpec, crc32c, create_array, create_group, write_atomic, write_manifest

DEFAULT_BLOCK = 1024  # entries per block of the ragged arrays before the first batch is known


def find_layout(model: nn.Module, optimizer: Optimizer | Together, moved: Collection[int]) -> Layout:
    """The layout of the parameters whose ids are in `moved`, in the model's order."""
    groups = {id(p): index for index, group in enumerate(optimizer.param_groups) for p in group["params"]}
    named = [(name, p) for name, p in model.named_parameters() if id(p) in moved]
    for _, parameter in named:  # what joins the optimizer later has a row of options of its own
        if id(parameter) not in groups:
            groups[id(parameter)] = len(set(groups.values()) | set(range(len(optimizer.param_groups))))
    return Layout(
        names=tuple(name for name, _ in named),
        shapes=tuple(tuple(p.shape) for _, p in named),
        group=tuple(groups[id(p)] for _, p in named),
        dtype=named[0][1].dtype if named else torch.get_default_dtype(),
    )


def constant_tensors(model: nn.Module, layout: Layout) -> dict[str, tuple[str, Tensor]]:
    """(role, tensor) of everything in the model that is not θ, by name.

    Roles: "frozen" (requires no gradient), "unused" (requires one, but the optimizer does not move it), "buffer".
    """
    rest = [(name, p) for name, p in model.named_parameters() if name not in set(layout.names)]
    constants = {name: ("unused" if p.requires_grad else "frozen", p.detach()) for name, p in rest}
    return constants | {name: ("buffer", b.detach()) for name, b in model.named_buffers()}


def create_store(
    store: Path,
    observer: Observer,
    moved: Collection[int],
    *,
    config: dict[str, Any] | None,
    chunk_steps: int,
    entries: int,
    rng_bytes: int,
    generator_bytes: int,
    remaking: Remaking | None = None,
) -> None:
    """Write arrays, constants, an empty journal and, last, the manifest that makes it a store.

    Args:
        store: an existing, empty directory.
        observer: of the model and optimizer, whose present state is θ_0, m_0, v_0.
        moved: ids of the parameters that the updates will move.
        config: the caller's configuration, kept in the manifest.
        chunk_steps: updates per chunk.
        entries: samples of the first update, from which the block size of the ragged arrays follows.
        rng_bytes, generator_bytes: see `schema.array_specs`.
        remaking: of a recording that keeps some states only.
    """
    model, optimizer, names = observer.model, observer.optimizer, observer.names
    layout = find_layout(model, optimizer, moved)
    named = dict(model.named_parameters())
    parameters = [named[n] for n in layout.names]
    joining = max((*layout.group, -1)) + 1 - len(optimizer.param_groups)
    joining = max(0, joining)
    state = read_state(optimizer, parameters, layout, names)
    initial = torch.empty(layout.size, dtype=layout.dtype)
    flat_copy(parameters, initial)
    raw, table = _pack(constant_tensors(model, layout))
    static = {
        "initial_parameters": initial,
        "initial_buffer": state.buffer,
        "initial_second_moment": state.second_moment,
        "constants": raw,
    }
    specs = schema.array_specs(
        layout,
        groups=len(optimizer.param_groups) + joining,
        adam=not {"Adam", "AdamW"}.isdisjoint(names),
        chunk_steps=chunk_steps,
        block=max(DEFAULT_BLOCK, entries * chunk_steps),
        rng_bytes=rng_bytes,
        generator_bytes=generator_bytes,
        rule=observer.rule,
        replayed=remaking is not None,
    )
    write_atomic(store / schema.JOURNAL, b"")  # first, so that a half-created store is known to be one
    create_group(store)
    for spec in specs:
        create_array(store, spec)
    for key, values in static.items():
        spec = schema.static_spec(key, str(values.dtype).removeprefix("torch."), values.numel())
        create_array(store, spec).write_all(values.numpy())
    body = {
        "complete": False,
        "optimizer": observer.name,
        **({"rules": list(names)} if len(set(names)) > 1 else {}),
        "flags": [*(flags := option_flags(optimizer)), *[flags[0]] * joining],
        "model": type(model).__qualname__,
        "device": parameters[0].device.type if parameters else "cpu",
        "layout": layout.to_json(),
        "constants": table,
        "static": {key: crc32c(values.numpy()) for key, values in static.items()},
        "initial_count": state.count,
        **({"joining": joining} if joining else {}),
        **({"initial_counts": list(state.counts)} if state.counts else {}),
        "chunk_steps": chunk_steps,
        **({"replay": remaking.describe()} if remaking else {}),
        "arrays": [_as_json(spec) for spec in specs],
        "config": config or {},
    }
    write_manifest(store, body, kind=schema.KIND)


def specs_of(manifest: dict[str, Any]) -> tuple[ArraySpec, ...]:
    """The array descriptions a manifest carries."""
    fields = ("dimensions", "shape", "chunks")
    return tuple(
        ArraySpec(**{key: tuple(value) if key in fields else value for key, value in entry.items()})
        for entry in manifest["arrays"]
    )


def check_config(config: dict[str, Any] | None) -> None:
    """Refuse a configuration the manifest could not hold.

    Raises:
        ConfigError: it is not made of JSON values.
    """
    try:
        json.dumps(config)
    except (TypeError, ValueError) as error:
        raise ConfigError(
            "The config given to record() cannot be stored",
            expected="text, numbers, booleans, None, lists and dictionaries",
            got=str(error),
        ) from error


def _as_json(spec: ArraySpec) -> dict[str, Any]:
    return {
        "name": spec.name,
        "dtype": spec.dtype,
        "dimensions": list(spec.dimensions),
        "shape": list(spec.shape),
        "chunks": list(spec.chunks),
        "transpose": spec.transpose,
        "codec": spec.codec,
    }


def _pack(tensors: dict[str, tuple[str, Tensor]]) -> tuple[Tensor, dict[str, Any]]:
    """Constants of any dtype as one vector of bytes, and the table of names, dtypes, shapes and offsets that restores them."""
    parts, table, offset = [torch.empty(0, dtype=torch.uint8)], {}, 0
    for name, (role, tensor) in tensors.items():
        flat = tensor.cpu().contiguous().reshape(-1)
        part = flat.view(torch.uint8) if flat.numel() else torch.empty(0, dtype=torch.uint8)
        dtype = str(tensor.dtype).removeprefix("torch.")
        shape = list(tensor.shape)
        table[name] = {"role": role, "dtype": dtype, "shape": shape, "offset": offset, "bytes": len(part)}
        parts.append(part)
        offset += len(part)
    return torch.cat(parts), table
