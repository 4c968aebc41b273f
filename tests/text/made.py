"""Tiny packages, folders and configurations, made by hand."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from explaind.text import write_tokens

ENGLISH = [f"the number {number} is a number </s> and <s> is text" for number in range(30)]
GREEK = [f"ο αριθμός {number} είναι αριθμός" for number in range(20)]
GUIDE = "usr/share/doc/installation-guide-amd64"


def tar(files: Mapping[str, str | bytes], mode: str) -> bytes:
    """A tree of files; a path that ends in "@" is a link to its content."""
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode=mode) as tree:
        for path, content in files.items():
            body = content.encode() if isinstance(content, str) else content
            member = tarfile.TarInfo(path.removesuffix("@"))
            if path.endswith("@"):
                member.type, member.linkname = tarfile.SYMTYPE, body.decode()
                tree.addfile(member)
            else:
                member.size = len(body)
                tree.addfile(member, io.BytesIO(body))
    return raw.getvalue()


def ar(members: Mapping[str, bytes]) -> bytes:
    """An ar archive, as dpkg-deb writes it."""
    raw = b"!<arch>\n"
    for name, body in members.items():
        raw += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(body):<10}`\n".encode() + body
        raw += b"\n" * (len(body) % 2)
    return raw


def deb(path: Path, files: Mapping[str, str | bytes], suffix: str = ".xz", mode: str = "w:xz") -> Path:
    """A .deb that holds these files, by paths without "./"."""
    data = tar({f"./{name}": content for name, content in files.items()}, mode)
    control = tar({"./control": "Package: made"}, "w:xz")
    path.write_bytes(ar({"debian-binary": b"2.0\n", "control.tar.xz": control, f"data.tar{suffix}": data}))
    return path


def page(*paragraphs: str) -> str:
    """A page of GNOME's manual."""
    body = "".join(f"<p>{text}</p>" for text in paragraphs)
    return f'<page xmlns="http://projectmallard.org/1.0/" id="made">{body}</page>'


def document(*paragraphs: str) -> str:
    """A page of HTML."""
    body = "".join(f"<p>{text}</p>" for text in paragraphs)
    return f"<html><head><title>A title that is left out</title></head><body>{body}</body></html>"


def config(**changes: Any) -> dict[str, Any]:
    """The configuration of a corpus from packages, with these entries of `data` changed, one level deep."""
    data: dict[str, Any] = {
        "name": "multilingual_text",
        "source": {
            "kind": "packages",
            "folder": None,
            "dataset": None,
            "configuration": "{language}",
            "split": "train",
            "column": "text",
            "revision": None,
            "documents": 2000,
        },
        "languages": ["eng", "deu"],
        "heldout": {"kind": "udhr", "share": 0.02, "languages": []},
        "tokenizer": {"kind": "train", "file": None, "vocabulary": 300, "paragraphs": None},
        "context": 8,
    }
    for name, change in changes.items():
        data[name] = {**data[name], **change} if isinstance(change, dict) else change
    return {"data": data}


def folder(path: Path, **texts: str | bytes) -> Path:
    """A folder of <language>.txt."""
    path.mkdir(parents=True)
    for language, text in texts.items():
        (path / f"{language}.txt").write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def from_folder(path: Path, **changes: Any) -> dict[str, Any]:
    """`config` for the text files in a folder, in the order of their names."""
    languages = sorted(file.stem for file in path.glob("*.txt"))
    source = {"kind": "folder", "folder": str(path)}
    return config(**{"source": source, "languages": languages, **changes})


def write(options: dict[str, Any], within: Path) -> Path:
    """The store of tokens, with the tokenizer and the table beside it."""
    store = within / "tokens.zarr"
    write_tokens(
        options,
        within / "corpus",
        tokenizer=within / "tokenizer.json",
        tokens=store,
        table=within / "table.csv",
    )
    return store
