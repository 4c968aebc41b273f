"""What a killed job leaves beside its outputs: temporary files that nobody will finish, and work that can go on."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

__all__ = ["remove", "remove_half_written", "unfinished"]


def unfinished(output: Path) -> list[Path]:
    """What lets a job go on: the folder of `explaind.runtime.durable`, and what stages let grow beside their output."""
    name = re.escape(output.name)
    return _beside(output, rf"\.{name}\.(resume|[0-9a-f]{{12}})|{name}\.partial")


def remove_half_written(outputs: Iterable[Path]) -> None:
    """Remove the files and stores that a killed process was writing. Nobody else may work on these outputs."""
    for output in outputs:
        name, stem, suffix = (re.escape(part) for part in (output.name, output.stem, output.suffix))
        for path in _beside(output, rf"\.{name}\.(partial|old)-\d+|\.{stem}\.\d+{suffix}"):
            remove(path)


def remove(path: Path) -> None:
    """Remove a file or a folder, or nothing."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _beside(output: Path, pattern: str) -> list[Path]:
    if not output.parent.is_dir():
        return []
    return sorted(path for path in output.parent.iterdir() if re.fullmatch(pattern, path.name))
