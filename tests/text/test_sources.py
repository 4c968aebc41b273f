"""Where training text comes from, and what is said when it cannot be had."""

from __future__ import annotations

import builtins
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from explaind.errors import ConfigError, DataError
from explaind.text import read_corpus, write_corpus
from tests.text.made import config, folder, from_folder

# Folders.


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    options = config(source={"kind": "folder", "folder": str(tmp_path / "nowhere")})
    with pytest.raises(DataError, match="nowhere does not exist.*Correct data.source.folder"):
        write_corpus(options, tmp_path / "corpus")


@pytest.mark.parametrize(("kind", "option"), [("folder", "folder"), ("huggingface", "dataset")])
def test_a_source_without_its_option_is_refused(tmp_path: Path, kind: str, option: str) -> None:
    with pytest.raises(ConfigError, match=f"{kind} needs data.source.{option}.*Set data.source.{option}"):
        write_corpus(config(source={"kind": kind}), tmp_path / "corpus")


def test_a_language_without_a_file_is_named(tmp_path: Path) -> None:
    texts = folder(tmp_path / "texts", eng="text")
    with pytest.raises(DataError, match="no text in the language deu.*deu.txt.*leave the language out"):
        write_corpus(config(source={"kind": "folder", "folder": str(texts)}), tmp_path / "corpus")


def test_a_language_whose_file_is_blank_is_named(tmp_path: Path) -> None:
    texts = folder(tmp_path / "texts", a="text", b=" \n\n")
    with pytest.raises(DataError, match="no text in the language b.*Leave it out of data.languages"):
        write_corpus(from_folder(texts), tmp_path / "corpus")


def test_a_file_that_is_not_utf8_is_named_with_the_byte(tmp_path: Path) -> None:
    texts = folder(tmp_path / "texts", a=b"good\n\xe9\n")
    with pytest.raises(DataError, match=r"a.txt is not UTF-8.*0xe9 at byte 5.*iconv"):
        write_corpus(from_folder(texts), tmp_path / "corpus")


@pytest.mark.parametrize("name", ["../a", "", ".hidden", "a/b", "a b"])
def test_a_language_that_cannot_name_a_file_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ConfigError, match="A language cannot be called.*Correct data.languages"):
        write_corpus(config(languages=["eng", name]), tmp_path / "corpus")


# The hub, with a library that only pretends.


class Stream(list):
    def take(self, count: int) -> Iterator[dict[str, Any]]:
        return iter(self[:count])


HUB = {"kind": "huggingface", "dataset": "made/up", "configuration": "{language}_Latn", "documents": 2}


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> list[tuple]:
    """What was asked of the library, which knows documents in two languages only."""
    asked: list[tuple] = []

    def load_dataset(name: str, configuration: str | None, **options: Any) -> Stream:
        asked.append((name, configuration, options))
        if configuration not in ("eng_Latn", "deu_Latn", None):
            raise ValueError(f"no configuration {configuration}")
        return Stream({"text": f"{configuration} {number}\n\nmore  of it"} for number in range(5))

    library = ModuleType("datasets")
    library.load_dataset = load_dataset  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "datasets", library)
    return asked


def test_the_first_documents_of_the_hub_become_paragraphs(tmp_path: Path, hub: list[tuple]) -> None:
    write_corpus(config(source=HUB), tmp_path / "corpus")
    found = read_corpus(tmp_path / "corpus").train
    assert found["deu"] == ["deu_Latn 0", "more of it", "deu_Latn 1"]
    options = {"streaming": True, "split": "train", "revision": None}
    assert hub == [("made/up", "eng_Latn", options), ("made/up", "deu_Latn", options)]
    origin = json.loads((tmp_path / "corpus" / "corpus.json").read_text())["origin"]
    assert origin[1] == {
        "dataset": "made/up",
        "configuration": "deu_Latn",
        "split": "train",
        "revision": None,
        "documents": 2,
    }


def test_a_data_set_without_configurations(tmp_path: Path, hub: list[tuple]) -> None:
    write_corpus(config(source={**HUB, "configuration": None}), tmp_path / "corpus")
    assert [configuration for _, configuration, _ in hub] == [None, None]


def test_a_language_that_the_hub_does_not_have_is_named(tmp_path: Path, hub: list[tuple]) -> None:
    with pytest.raises(
        DataError, match=r"xyz could not be read from the data set made/up \(xyz_Latn, train\)"
    ):
        write_corpus(config(source=HUB, languages=["eng", "xyz"]), tmp_path / "corpus")


def test_a_column_that_is_not_there_is_named(tmp_path: Path, hub: list[tuple]) -> None:
    with pytest.raises(DataError, match="no text in the column content.*the columns text.*source.column"):
        write_corpus(config(source={**HUB, "column": "content"}), tmp_path / "corpus")


def test_without_the_library_the_remedy_is_its_installation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name == "datasets":
            raise ImportError("No module named 'datasets'")
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(ConfigError, match=r"needs the library datasets.*pip install 'explaind\[hub\]'"):
        write_corpus(config(source=HUB), tmp_path / "corpus")
