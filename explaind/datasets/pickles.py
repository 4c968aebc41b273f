"""Unpickle plain numpy arrays, and nothing else: a pickle may call any function, so all but three names are refused."""

from __future__ import annotations

import io
import pickle
from typing import Any

import numpy as np

from explaind.errors import DataError

__all__ = ["load_arrays"]

#: What numpy's own pickles of arrays refer to, under the module names of numpy 1 and 2.
_ALLOWED = {
    (module, name): target
    for name, target in (
        ("_reconstruct", np._core.multiarray._reconstruct),
        ("ndarray", np.ndarray),
        ("dtype", np.dtype),
    )
    for module in ("numpy", "numpy.core.multiarray", "numpy._core.multiarray")
}


class _Arrays(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _ALLOWED:
            raise DataError(
                "The pickle asks for more than arrays, so it was not opened.",
                expected="numpy arrays in tuples, lists and dictionaries",
                got=f"{module}.{name}",
                remedy="Use the published file of the data set.",
            )
        return _ALLOWED[module, name]


def load_arrays(raw: bytes) -> Any:
    """The arrays of a pickle of protocol 3 or 4, or of Python 2.

    Raises:
        DataError: it refers to anything but numpy arrays, or is damaged.
    """
    try:
        return _Arrays(io.BytesIO(raw), encoding="latin1").load()
    except DataError:
        raise
    except Exception as error:  # damaged bytes can raise anything: memory, overflow, recursion
        raise DataError("The pickle is damaged.", got=f"{type(error).__name__}: {error}") from error
