"""The corpus: text to train on and held-out text, by language, as a folder that names where it comes from.

`train/<language>.txt` and `heldout/<language>.txt` hold one paragraph per line; `corpus.json` holds the origin and, for
every file, its number of paragraphs, its number of characters (without line ends) and its SHA-256. No paragraph that is
held out is in any training text.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from explaind.errors import ConfigError, DataError
from explaind.store.files import read_json, write_json
from explaind.text.packages import Origin, Texts, declarations
from explaind.text.sources import decoded, training_text

__all__ = ["Corpus", "read_corpus", "write_corpus"]

CONTENTS = "corpus.json"
PARTS = ("train", "heldout")


@dataclass(frozen=True)
class Corpus:
    """Paragraphs by language, for training and held out; languages in the order of the configuration."""

    train: Texts
    heldout: Texts


def write_corpus(config: Mapping[str, Any], output: Path) -> None:
    """Make the corpus and write it as a folder, completely or not at all; an older one is replaced.

    Args:
        config: `data.{source,languages,heldout}`.
        output: the folder.

    Raises:
        ConfigError: an option that is missing or does not fit the others.
        DataError: a language without text, or text that cannot be had or read.
    """
    output = Path(output)
    train, origin = training_text(config["data"])
    heldout, added = _hold_out(config["data"]["heldout"], train)
    kept_out = {text for paragraphs in heldout.values() for text in paragraphs}
    train = {name: [text for text in texts if text not in kept_out] for name, texts in train.items()}
    partial = output.with_name(f".{output.name}.partial-{os.getpid()}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        files: dict[str, dict[str, Any]] = {}
        for part, texts in zip(PARTS, (train, heldout), strict=True):
            (partial / part).mkdir(parents=True)
            for language, paragraphs in texts.items():
                if not paragraphs:
                    raise _without_text(language, part)
                raw = "".join(f"{text}\n" for text in paragraphs).encode()
                name = f"{part}/{language}.txt"
                (partial / name).write_bytes(raw)
                files[name] = {
                    "paragraphs": len(paragraphs),
                    "characters": sum(map(len, paragraphs)),
                    "sha256": hashlib.sha256(raw).hexdigest(),
                }
        source = config["data"]["source"]["kind"]
        write_json({"source": source, "origin": origin + added, "files": files}, partial / CONTENTS)
        shutil.rmtree(output, ignore_errors=True)
        partial.replace(output)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def read_corpus(folder: Path) -> Corpus:
    """The corpus of a folder, after its checksums were verified.

    Raises:
        DataError: no corpus, or a file that is missing or was changed (named).
    """
    folder = Path(folder)
    remedy = "Write the corpus again."
    try:
        files = read_json(folder / CONTENTS)["files"]
    except (OSError, json.JSONDecodeError, UnicodeDecodeError, KeyError, TypeError) as error:
        raise DataError(
            f"{folder} holds no corpus.",
            expected=f"a folder with {CONTENTS}",
            got=f"{type(error).__name__}: {error}",
            remedy=remedy,
        ) from error
    texts: dict[str, Texts] = {part: {} for part in PARTS}
    for name, entry in files.items():
        text = decoded(folder / name)
        if hashlib.sha256(text.encode()).hexdigest() != entry["sha256"]:
            raise DataError(
                f"{folder / name} was changed.",
                expected=f"sha256:{entry['sha256']}",
                got="other bytes",
                remedy=remedy,
            )
        part, language = name.removesuffix(".txt").split("/")
        texts[part][language] = text.split("\n")[:-1]
    return Corpus(**texts)


def _hold_out(options: Mapping[str, Any], train: Texts) -> tuple[Texts, Origin]:
    """Held-out paragraphs by language; of the training texts, which are left as they are, or of the declaration."""
    languages = options["languages"]
    if options["kind"] == "udhr":
        return declarations(languages) if languages else ({}, [])
    if unknown := [name for name in languages if name not in train]:
        raise ConfigError(
            f"No text of the language {unknown[0]} can be held out, because there is none.",
            expected=f"languages among {' '.join(train)}",
            got=", ".join(unknown),
            remedy="Correct data.heldout.languages, or hold out the declaration (data.heldout.kind=udhr).",
        )
    return {
        name: train[name][-max(1, round(options["share"] * len(train[name]))) :] for name in languages
    }, []


def _without_text(language: str, part: str) -> DataError:
    option = "data.languages" if part == "train" else "data.heldout.languages"
    rest = "left to train on" if part == "train" else "held out"
    return DataError(
        f"There is no text {rest} in the language {language}.",
        expected="at least one paragraph",
        got="none",
        remedy=f"Leave it out of {option}, or change data.heldout.",
    )
