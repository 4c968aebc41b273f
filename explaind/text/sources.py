"""Training text by language: from the packages, from a folder of text files, or from the Hugging Face hub.

Whatever the source, a language's text is a list of different paragraphs, in order, each of them one line.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from explaind.errors import ConfigError, DataError
from explaind.store.manifest import sha256_file
from explaind.text.extract import clean
from explaind.text.packages import Origin, Texts, manuals, unique

__all__ = ["decoded", "training_text"]

_FILE_NAME = re.compile(r"\w[\w.-]*")  # a language is also the name of a file


def training_text(data: Mapping[str, Any]) -> tuple[Texts, Origin]:
    """Paragraphs by language, in the order of `languages`, and where they come from.

    Args:
        data: `config["data"]`, of which `source` and `languages` are read.

    Raises:
        ConfigError: a missing option, a language that cannot be, or the library `datasets` is not installed.
        DataError: a language without text, a missing folder or file, or a file that is not UTF-8.
    """
    languages: Sequence[str] = data["languages"]
    if wrong := [name for name in languages if not _FILE_NAME.fullmatch(name)]:
        raise ConfigError(
            f"A language cannot be called {wrong[0]!r}.",
            expected="letters, digits, underscores, hyphens and dots",
            got=repr(wrong[0]),
            remedy="Correct data.languages.",
        )
    texts, origin = _SOURCES[data["source"]["kind"]](data["source"], languages)
    for language, paragraphs in texts.items():
        if not paragraphs:
            raise DataError(
                f"There is no text in the language {language}.",
                expected="at least one paragraph",
                got="none",
                remedy="Leave it out of data.languages.",
            )
    return texts, origin


def decoded(path: Path) -> str:
    """The content of a UTF-8 file, without a byte order mark.

    Raises:
        DataError: it cannot be read, or is not UTF-8; the byte is named.
    """
    try:
        return path.read_bytes().decode().removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8.",
            expected="UTF-8 text, one paragraph per line",
            got=f"the byte 0x{error.object[error.start]:02x} at byte {error.start}",
            remedy="Convert the file, for example with iconv.",
        ) from error
    except OSError as error:
        raise DataError(f"{path} cannot be read.", got=str(error)) from error


def _from_packages(_source: Mapping[str, Any], languages: Sequence[str]) -> tuple[Texts, Origin]:
    return manuals(languages)


def _from_folder(source: Mapping[str, Any], languages: Sequence[str]) -> tuple[Texts, Origin]:
    folder = Path(_given(source, "folder", "the path of a folder of <language>.txt"))
    if not folder.is_dir():
        raise DataError(
            f"The folder {folder} does not exist.",
            expected="a folder of <language>.txt",
            got="no folder",
            remedy="Correct data.source.folder.",
        )
    texts, origin = {}, []
    for language in languages:
        path = folder / f"{language}.txt"
        if not path.is_file():
            raise DataError(
                f"There is no text in the language {language}.",
                expected=str(path),
                got="no such file",
                remedy="Add the file, or leave the language out of data.languages.",
            )
        texts[language] = _paragraphs(decoded(path))
        origin.append({"file": path.name, "sha256": sha256_file(path)})
    return texts, origin


def _from_hub(source: Mapping[str, Any], languages: Sequence[str]) -> tuple[Texts, Origin]:
    name, column = _given(source, "dataset", "the name of a data set"), source["column"]
    try:
        from datasets import load_dataset  # optional: nothing else needs it
    except ImportError as error:
        raise ConfigError(
            "Text from the Hugging Face hub needs the library datasets.",
            expected="an installed library datasets",
            got=str(error),
            remedy="pip install 'explaind[hub]'",
        ) from error
    texts, origin = {}, []
    for language in languages:
        configuration = (source["configuration"] or "").replace("{language}", language) or None
        options = {"split": source["split"], "revision": source["revision"]}
        where = f"the data set {name} ({configuration or 'no configuration'}, {source['split']})"
        try:
            rows = list(
                load_dataset(name, configuration, streaming=True, **options).take(source["documents"])
            )
        except Exception as error:  # the library and its transports raise errors of many kinds
            raise DataError(
                f"The language {language} could not be read from {where}.",
                got=f"{type(error).__name__}: {str(error)[:200]}",
                remedy="Check the connection, data.source.dataset and data.source.configuration, "
                "or leave the language out of data.languages.",
            ) from error
        if absent := [row for row in rows if not isinstance(row.get(column), str)]:
            raise DataError(
                f"A document of {where} has no text in the column {column}.",
                expected=f"text as {column}",
                got=f"the columns {', '.join(map(str, absent[0]))}",
                remedy="Correct data.source.column.",
            )
        texts[language] = _paragraphs("\n".join(row[column] for row in rows))
        origin.append({"dataset": name, "configuration": configuration, **options, "documents": len(rows)})
    return texts, origin


_SOURCES: dict[str, Callable[[Mapping[str, Any], Sequence[str]], tuple[Texts, Origin]]] = {
    "packages": _from_packages,
    "folder": _from_folder,
    "huggingface": _from_hub,
}


def _paragraphs(text: str) -> list[str]:
    return unique(line for line in map(clean, text.splitlines()) if line)


def _given(source: Mapping[str, Any], option: str, expected: str) -> str:
    if not source[option]:
        raise ConfigError(
            f"The source {source['kind']} needs data.source.{option}.",
            expected=expected,
            got="nothing",
            remedy=f"Set data.source.{option}.",
        )
    return source[option]
