"""A corpus is written whole, verified when it is read, and made of what the configuration names."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from explaind.errors import ConfigError, DataError
from explaind.text import corpus as module
from explaind.text import read_corpus, write_corpus
from tests.text.made import folder, from_folder

LINES = [f"Line {number} of the text" for number in range(100)]


def test_a_folder_becomes_a_corpus_and_comes_back(tmp_path: Path) -> None:
    texts = folder(tmp_path / "texts", xx="\ufeffone  two\r\n\r\ncafe\u0301\none two\n", klingon="nuqneH")
    write_corpus(from_folder(texts), tmp_path / "corpus")
    found = read_corpus(tmp_path / "corpus")
    assert list(found.train.items()) == [("klingon", ["nuqneH"]), ("xx", ["one two", "café"])]
    assert found.heldout == {}
    contents = json.loads((tmp_path / "corpus" / "corpus.json").read_text())
    assert contents["files"]["train/xx.txt"]["paragraphs"] == 2
    assert contents["files"]["train/xx.txt"]["characters"] == len("one twocafé")
    assert [entry["file"] for entry in contents["origin"]] == ["klingon.txt", "xx.txt"]
    assert str(tmp_path) not in (tmp_path / "corpus" / "corpus.json").read_text()


def test_the_last_share_is_held_out_and_not_trained_on(tmp_path: Path) -> None:
    texts = folder(tmp_path / "texts", a="\n".join(LINES), b="\n".join([LINES[99], *"xyz"]))
    options = from_folder(texts, heldout={"kind": "share", "share": 0.02, "languages": ["a"]})
    write_corpus(options, tmp_path / "corpus")
    found = read_corpus(tmp_path / "corpus")
    assert found.heldout == {"a": LINES[98:]}
    assert found.train == {"a": LINES[:98], "b": ["x", "y", "z"]}, "nor in another language"


def test_the_declaration_is_held_out_and_not_trained_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        module, "declarations", lambda names: ({name: ["Article"] for name in names}, [{"p": "u"}])
    )
    texts = folder(tmp_path / "texts", a="Article\nanother")
    write_corpus(from_folder(texts, heldout={"languages": ["mlt"]}), tmp_path / "corpus")
    found = read_corpus(tmp_path / "corpus")
    assert (found.train, found.heldout) == ({"a": ["another"]}, {"mlt": ["Article"]})
    assert {"p": "u"} in json.loads((tmp_path / "corpus" / "corpus.json").read_text())["origin"]


def test_an_older_corpus_is_replaced_and_one_that_fails_leaves_it(tmp_path: Path) -> None:
    texts = folder(tmp_path / "texts", a="first")
    options = from_folder(texts)
    write_corpus(options, tmp_path / "corpus")
    (texts / "a.txt").write_text("second")
    write_corpus(options, tmp_path / "corpus")
    assert read_corpus(tmp_path / "corpus").train == {"a": ["second"]}
    failing = from_folder(texts, heldout={"kind": "share", "share": 0.5, "languages": ["a"]})
    with pytest.raises(DataError, match="no text left to train on in the language a"):
        write_corpus(failing, tmp_path / "corpus")
    assert read_corpus(tmp_path / "corpus").train == {"a": ["second"]}
    assert sorted(os.listdir(tmp_path)) == ["corpus", "texts"]


def test_a_heldout_language_without_text_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "declarations", lambda names: ({name: [] for name in names}, []))
    texts = folder(tmp_path / "texts", a="text")
    with pytest.raises(DataError, match="no text held out in the language mlt.*data.heldout.languages"):
        write_corpus(from_folder(texts, heldout={"languages": ["mlt"]}), tmp_path / "corpus")


def test_a_share_of_a_language_that_is_not_there_is_refused(tmp_path: Path) -> None:
    texts = folder(tmp_path / "texts", a="text\nmore")
    options = from_folder(texts, heldout={"kind": "share", "languages": ["a", "b"]})
    with pytest.raises(ConfigError, match="language b can be held out.*languages among a.*kind=udhr"):
        write_corpus(options, tmp_path / "corpus")


@pytest.mark.parametrize("name", ["train/a.txt", "heldout/a.txt"])
def test_a_changed_or_missing_file_is_named(tmp_path: Path, name: str) -> None:
    texts = folder(tmp_path / "texts", a="\n".join(LINES))
    options = from_folder(texts, heldout={"kind": "share", "languages": ["a"]})
    write_corpus(options, tmp_path / "corpus")
    path = tmp_path / "corpus" / name
    path.write_text(path.read_text().replace("Line 9", "Line 8"))
    with pytest.raises(DataError, match=f"{name} was changed.*Write the corpus again"):
        read_corpus(tmp_path / "corpus")
    path.unlink()
    with pytest.raises(DataError, match=f"{name} cannot be read"):
        read_corpus(tmp_path / "corpus")


@pytest.mark.parametrize("contents", [None, "{", "[]", "{}"])
def test_what_is_no_corpus_is_refused(tmp_path: Path, contents: str | None) -> None:
    if contents is not None:
        (tmp_path / "corpus.json").write_text(contents)
    with pytest.raises(DataError, match="holds no corpus.*a folder with corpus.json"):
        read_corpus(tmp_path)
