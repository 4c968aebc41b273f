"""Files out of a Debian or a JavaScript package, read in memory: nothing is unpacked to disk and nothing is run.

A .deb is an `ar` archive: 8 bytes "!<arch>\\n", then members, each a header of 60 bytes (name 0–15, size 48–57 in decimal, "`\\n"
at its end) and its content, padded to an even length. Its member data.tar.* is the tree of files, compressed as its suffix says.
"""

from __future__ import annotations

import io
import lzma
import tarfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from explaind.errors import DataError

__all__ = ["deb_files", "tgz_files"]

MAGIC = b"!<arch>\n"
HEADER = 60  # bytes
MODES = {
    "": "r|",
    ".gz": "r|gz",
    ".bz2": "r|bz2",
    ".xz": "r|xz",
}  # what tarfile reads on every supported Python
Wanted = Callable[[str], bool]


def deb_files(package: Path, wanted: Wanted) -> dict[str, bytes]:
    """The content of the regular files of a .deb whose path, such as "usr/share/doc/…", is `wanted`; sorted by path.

    Raises:
        DataError: no .deb, a damaged one, or one whose files are compressed in a way that is not read here.
    """
    for name, body in _members(package):
        if name.startswith("data.tar"):
            suffix = name.removeprefix("data.tar")
            if suffix not in MODES:
                raise DataError(
                    f"The files in {package} are compressed in a way that cannot be read.",
                    expected=", ".join(f"data.tar{known}" for known in MODES),
                    got=name,
                    remedy="Pack the member again with xz, or give the text as a folder (data.source.kind=folder).",
                )
            return _tar_files(body, MODES[suffix], package, wanted)
    raise _damaged(package, "a member data.tar.*", "none")


def tgz_files(package: Path, wanted: Wanted) -> dict[str, bytes]:
    """The same out of a .tgz, whose paths begin with "package/"."""
    return _tar_files(package.read_bytes(), "r|gz", package, wanted)


def _members(package: Path) -> Iterator[tuple[str, bytes]]:
    raw = package.read_bytes()
    if not raw.startswith(MAGIC):
        raise _damaged(package, "an ar archive, as every .deb is", f"{raw[:8].hex(' ')} at its beginning")
    start = len(MAGIC)
    while start < len(raw):
        header = raw[start : start + HEADER]
        size = header[48:58].strip()
        if len(header) < HEADER or header[58:] != b"`\n" or not size.isdigit():
            raise _damaged(package, "the header of a member", f"other bytes at byte {start}")
        body = raw[start + HEADER : start + HEADER + int(size)]
        if len(body) < int(size):
            raise _damaged(package, f"{int(size)} bytes in its last member", str(len(body)))
        yield header[:16].decode("latin-1").rstrip(" /"), body
        start += HEADER + int(size) + int(size) % 2


def _tar_files(raw: bytes, mode: str, package: Path, wanted: Wanted) -> dict[str, bytes]:
    files = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode=mode) as tree:
            for member in tree:
                path = member.name.removeprefix("./")
                if member.isreg() and wanted(path):
                    stream = tree.extractfile(member)
                    assert stream is not None  # a regular file has content
                    files[path] = stream.read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise _damaged(package, "a tree of files", str(error) or type(error).__name__) from error
    return dict(sorted(files.items()))


def _damaged(package: Path, expected: str, got: str) -> DataError:
    return DataError(
        f"{package} cannot be read.",
        expected=expected,
        got=got,
        remedy="Remove the file, so that it is fetched again.",
    )
