"""The tokenizer is the same on every machine, or the given one if that fits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import WhitespaceSplit

from explaind.errors import DataError
from explaind.store import read_dataset
from explaind.text import read_tokens
from explaind.text.tokenizer import make_tokenizer
from tests.text.made import write


def test_training_the_tokenizer_is_deterministic(tmp_path: Path, options: dict[str, Any]) -> None:
    write(options, tmp_path)
    code = (
        "import sys; from pathlib import Path; from explaind.text import read_corpus\n"
        "from explaind.text.tokenizer import make_tokenizer\n"
        "options = {'kind': 'train', 'vocabulary': 300, 'paragraphs': None}\n"
        "make_tokenizer(options, read_corpus(Path(sys.argv[1])).train).save(sys.argv[2])"
    )
    again = tmp_path / "again.json"
    subprocess.run([sys.executable, "-c", code, str(tmp_path / "corpus"), str(again)], check=True)
    assert again.read_bytes() == (tmp_path / "tokenizer.json").read_bytes()


def test_the_tokenizer_can_be_trained_on_some_paragraphs_of_each_language() -> None:
    train = {"a": ["xyxyxyxy xyxy", "qqqqqqqq qqqq"], "b": ["zwzwzwzw zwzw", "rrrrrrrr rrrr"]}
    some = {"kind": "train", "vocabulary": 300, "paragraphs": 1}
    known = make_tokenizer(some, train).get_vocab()
    assert "xy" in known and "zw" in known
    assert "qq" not in known and "rr" not in known
    assert "rr" in make_tokenizer({**some, "paragraphs": None}, train).get_vocab()


def test_a_tokenizer_from_a_file_is_used_as_it_is(tmp_path: Path, options: dict[str, Any]) -> None:
    write(options, tmp_path)
    first = read_tokens(tmp_path / "tokens.zarr")
    given = tmp_path / "given.json"
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    tokenizer.enable_padding(length=50)
    tokenizer.enable_truncation(2)  # neither is for a stream
    tokenizer.save(str(given))
    options["data"]["tokenizer"].update(kind="file", file=str(given))
    second = read_tokens(write(options, tmp_path))
    assert torch.equal(first.train, second.train)


def test_a_tokenizer_from_the_hub_is_that_of_a_revision(
    tmp_path: Path, options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    write(options, tmp_path)
    first = read_tokens(tmp_path / "tokens.zarr")
    (tmp_path / "tokenizer.json").rename(tmp_path / "published.json")

    def fetch(repository: str, revision: str, file: str) -> Path:
        assert (repository, revision, file) == ("owner/name", "step-1", "tokenizer.json")
        return tmp_path / "published.json"

    monkeypatch.setattr("explaind.text.tokenizer.fetch_file", fetch)
    options["data"]["tokenizer"].update(kind="hub", repository="owner/name", revision="step-1")
    assert torch.equal(first.train, read_tokens(write(options, tmp_path)).train)


def test_a_large_vocabulary_takes_four_bytes(tmp_path: Path, options: dict[str, Any]) -> None:
    words = {"<s>": 0, "</s>": 1, "[unknown]": 65_536}
    _given(options, tmp_path, words, vocabulary=70_000)
    write(options, tmp_path)
    store = read_dataset(tmp_path / "tokens.zarr", kind="tokens")
    assert store.train.dtype == np.int32
    assert store.attrs["vocabulary"] == 65_537
    assert int(store.train.max()) == 65_536


def _given(options: dict[str, Any], tmp_path: Path, words: dict[str, int], vocabulary: int) -> None:
    tokenizer = Tokenizer(WordLevel(words, unk_token="[unknown]"))
    tokenizer.pre_tokenizer = WhitespaceSplit()
    tokenizer.save(str(tmp_path / "given.json"))
    options["data"]["tokenizer"].update(kind="file", file=str(tmp_path / "given.json"), vocabulary=vocabulary)


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    _given(options, tmp_path, {"<s>": 0, "</s>": 1, "[unknown]": 2}, vocabulary=2)
    with pytest.raises(DataError, match=r"given.json has more tokens.*at most 2 tokens.*3 tokens"):
        write(options, tmp_path)
    assert not (tmp_path / "tokens.zarr").exists()
    assert not (tmp_path / "tokenizer.json").exists()


def test_a_tokenizer_without_the_special_tokens_is_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    _given(options, tmp_path, {"<s>": 0, "[unknown]": 1}, vocabulary=300)
    with pytest.raises(DataError, match=r"given.json has no token </s>"):
        write(options, tmp_path)


@pytest.mark.parametrize("content", [None, "{}"])
def test_a_file_that_holds_no_tokenizer_is_named(
    tmp_path: Path, options: dict[str, Any], content: str | None
) -> None:
    if content is not None:
        (tmp_path / "given.json").write_text(content)
    options["data"]["tokenizer"].update(kind="file", file=str(tmp_path / "given.json"))
    with pytest.raises(DataError, match=r"given.json holds no tokenizer"):
        write(options, tmp_path)
