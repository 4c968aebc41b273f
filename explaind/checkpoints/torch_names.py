"""Which parameter is which number in the state that torch saved: by param_names, or by the model's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.errors import StoreError

__all__ = ["listed", "match_names"]


def match_names(
    path: Path, groups: Sequence[Mapping[str, Any]], shapes: Mapping[str, tuple[int, ...]]
) -> tuple[dict[str, int], list[list[str]], tuple[str, ...]]:
    """Which parameter is which number of the state.

    Args:
        path: the state's file, for messages.
        groups: as in `optimizer.state_dict()["param_groups"]`.
        shapes: of the model's parameters, by name, in the model's order.

    Returns:
        Number by name, the names of each group, and notes. Groups with param_names may leave parameters of the model out.

    Raises:
        StoreError: the groups are another model's, or do not tell which parameter is which.
    """
    numbers = [list(group["params"]) for group in groups]
    count = sum(map(len, numbers))
    named = all("param_names" in group for group in groups)
    if count > len(shapes) or (count < len(shapes) and not named):
        raise StoreError(
            f"{path} is the optimizer state of another model",
            expected=f"{len(shapes)} parameters",
            got=f"{count} parameters",
            remedy="check that the optimizer's state and the weights are of one checkpoint",
        )
    notes: tuple[str, ...] = ()
    if named:
        names = [list(group["param_names"]) for group in groups]
        every = [name for some in names for name in some]
        unknown = [name for name in every if name not in shapes]
        if unknown or len(set(every)) < len(every) or list(map(len, names)) != list(map(len, numbers)):
            raise StoreError(
                f"{path} names other parameters than the model has",
                expected="the names in the model, each once",
                got=unknown[0] if unknown else "names that are repeated or missing",
            )
        if left := [name for name in shapes if name not in every]:
            notes = (f"{path.name} does not hold {listed(left)}: taken as constants.",)
    elif len(groups) == 1:
        names = [list(shapes)]
    else:
        names = _by_kind(path, [len(part) for part in numbers], shapes)
        notes = (f"{path.name} holds no param_names: each group was taken to follow the model's order.",)
    return (
        {
            name: index
            for part, some in zip(numbers, names, strict=True)
            for index, name in zip(part, some, strict=True)
        },
        names,
        notes,
    )


def _by_kind(path: Path, counts: list[int], shapes: Mapping[str, tuple[int, ...]]) -> list[list[str]]:
    """Names of two groups, one of the matrices and one of the vectors, in either order."""
    kinds = [[n for n, shape in shapes.items() if (len(shape) < 2) == vector] for vector in (False, True)]
    for names in (kinds, kinds[::-1]):
        if counts == [len(part) for part in names]:
            return names
    raise StoreError(
        f"The groups of parameters in {path} do not tell which parameter is which",
        expected="one group, or one of the matrices and one of the vectors, or groups with param_names",
        got=f"groups of {', '.join(map(str, counts))} parameters without names",
        remedy="give the optimizer model.named_parameters(), so that its state_dict holds the names",
    )


def listed(names: Sequence[str], most: int = 3) -> str:
    """The first few names, and how many there are."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
