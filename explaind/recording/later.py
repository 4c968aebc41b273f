"""Parameters that get their first gradient after the recording has begun: unfrozen, used, or added to the optimizer later."""

from __future__ import annotations

from collections.abc import Iterable
from fnmatch import fnmatchcase

from torch import Tensor, nn

from explaind.errors import ConfigError

__all__ = ["find_later"]


def find_later(model: nn.Module, patterns: str | Iterable[str]) -> dict[str, Tensor]:
    """The parameters that these names or shell patterns name.

    Raises:
        ConfigError: one names no parameter of the model.
    """
    named = dict(model.named_parameters())
    found: dict[str, Tensor] = {}
    for pattern in (patterns,) if isinstance(patterns, str) else patterns:
        matching = {name: parameter for name, parameter in named.items() if fnmatchcase(name, pattern)}
        if not matching:
            raise ConfigError(
                "later names a parameter that the model does not have",
                expected=", ".join(list(named)[:8]) + (", …" if len(named) > 8 else ""),
                got=pattern,
                remedy="pass names or shell patterns of model.named_parameters()",
            )
        found |= matching
    return found
