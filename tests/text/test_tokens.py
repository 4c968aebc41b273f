"""Token sequences hold the text, one language each, and fit the model that reads them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
import xarray as xr
from tokenizers import Tokenizer

from explaind.errors import ConfigError, DataError, StoreError
from explaind.store import read_dataset, write_dataset
from explaind.store.manifest import sha256_file
from explaind.text import Tokens, read_tokens, write_corpus
from tests.text.made import ENGLISH, GREEK, folder, from_folder, write


def tokenized(tmp_path: Path, options: dict[str, Any]) -> tuple[Tokens, Tokenizer]:
    return read_tokens(write(options, tmp_path)), Tokenizer.from_file(str(tmp_path / "tokenizer.json"))


def test_sequences_are_the_text_in_order(tmp_path: Path, options: dict[str, Any]) -> None:
    found, tokenizer = tokenized(tmp_path, options)
    assert (tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")) == (0, 1)
    assert found.vocabulary == tokenizer.get_vocab_size() == 300
    assert (found.languages, found.heldout_languages) == (("ell", "eng"), ("eng",))
    assert found.train.dtype == found.train_language.dtype == found.heldout_language.dtype == torch.int64
    parts = (
        (found.train[found.train_language == 0], GREEK),
        (found.train[found.train_language == 1], ENGLISH[:27]),
        (found.heldout, ENGLISH[27:]),
    )
    for sequences, paragraphs in parts:
        assert len(sequences) > 1
        assert sequences.shape[1] == 8
        assert (sequences[:, 0] == 0).all()
        stream = sequences[:, 1:].flatten().tolist()
        text = "\n".join(
            tokenizer.decode(piece, skip_special_tokens=False)
            for piece in _split(stream, tokenizer.token_to_id("</s>"))
        )
        whole = "\n".join([*paragraphs, ""])
        # The end may be cut inside a character.
        assert whole.startswith(text.rstrip("\ufffd"))
        left = len(whole.encode()) - len(text.rstrip("\ufffd").encode())
        assert left < 8 * 20, "less than one sequence is left out"


def _split(tokens: list[int], end: int) -> list[list[int]]:
    pieces: list[list[int]] = [[]]
    for token in tokens:
        if token == end:
            pieces.append([])
        else:
            pieces[-1].append(token)
    return pieces


def test_the_store_names_its_dimensions_and_is_narrow(tmp_path: Path, options: dict[str, Any]) -> None:
    store = read_dataset(write(options, tmp_path), kind="tokens")
    assert store.train.dims == ("train_sequence", "position")
    assert store.heldout_language_index.dims == ("heldout_sequence",)
    assert (store.train.dtype, store.train_language_index.dtype) == (np.uint16, np.int16)
    assert list(store.language.values) == ["ell", "eng"]
    assert list(store.heldout_language.values) == ["eng"]
    assert store.attrs == {
        "context": 8,
        "vocabulary": 300,
        "tokenizer": sha256_file(tmp_path / "tokenizer.json"),
    }


def test_the_table_counts_every_language_and_part(tmp_path: Path, options: dict[str, Any]) -> None:
    found, tokenizer = tokenized(tmp_path, options)
    table = pd.read_csv(tmp_path / "table.csv")
    assert list(table.language + " " + table.name + " " + table.part) == [
        "ell Greek train",
        "eng English train",
        "eng English heldout",
    ]
    greek = table.iloc[0]
    tokenizer.encode_special_tokens = True
    assert greek.paragraphs == len(GREEK)
    assert greek.characters == sum(map(len, GREEK))
    assert greek.bytes == sum(len(text.encode()) for text in GREEK)
    assert greek.tokens == sum(len(tokenizer.encode(text).ids) for text in GREEK)
    assert greek.sequences == (greek.tokens + greek.paragraphs) // 7 == (found.train_language == 0).sum()
    assert greek.bytes_per_token == greek.bytes / greek.tokens


def test_nothing_can_be_held_out(tmp_path: Path) -> None:
    texts = folder(tmp_path / "texts", eng="\n".join(ENGLISH))
    options = from_folder(texts)
    write_corpus(options, tmp_path / "corpus")
    found, _ = tokenized(tmp_path, options)
    assert found.heldout.shape == (0, 8)
    assert found.heldout_language.shape == (0,)
    assert found.heldout_languages == ()


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokenizer": {"kind": "file", "file": None}}, "needs its file.*data.tokenizer.file"),
        ({"tokenizer": {"vocabulary": 257}}, "no room for every byte.*at least 258"),
        ({"context": 1}, "at least one token.*Raise data.context"),
    ],
)
def test_options_that_cannot_be_are_refused(
    tmp_path: Path, options: dict[str, Any], change: dict[str, Any], says: str
) -> None:
    changed = from_folder(tmp_path / "texts", **change)
    with pytest.raises(ConfigError, match=says):
        write(changed, tmp_path)


def test_less_text_than_one_sequence_is_refused_with_the_language(
    tmp_path: Path, options: dict[str, Any]
) -> None:
    options["data"]["context"] = 100
    with pytest.raises(
        DataError, match=r"eng \(heldout\) has less text.*at least 99 tokens.*lower data.context"
    ):
        write(options, tmp_path)


def test_tokens_that_do_not_fit_the_model_are_refused(tmp_path: Path, options: dict[str, Any]) -> None:
    store = write(options, tmp_path)
    assert read_tokens(store, vocabulary=300, context=8).vocabulary == 300
    with pytest.raises(DataError, match=r"tokens.zarr are of a larger vocabulary.*at most 299.*300 tokens"):
        read_tokens(store, vocabulary=299)
    with pytest.raises(DataError, match=r"tokens.zarr are longer.*at most 7 tokens.*8 tokens"):
        read_tokens(store, context=7)


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("train", 300, "train sequences in .*tokens.zarr have token ids that do not exist.*0 to 299"),
        ("heldout", 300, "heldout sequences in .* have token ids"),
        ("train_language_index", 2, "train sequences in .* have languages.*0 to 1"),
        ("heldout_language_index", -1, "heldout sequences in .* have languages"),
    ],
)
def test_values_outside_their_range_are_refused(
    tmp_path: Path, options: dict[str, Any], name: str, value: int, says: str
) -> None:
    path = write(options, tmp_path)
    store: xr.Dataset = read_dataset(path, kind="tokens")
    store[name].values.flat[0] = value
    write_dataset(store, path, kind="tokens", overwrite=True)
    with pytest.raises(DataError, match=says):
        read_tokens(path)


def test_a_store_that_is_not_there_is_an_error_of_stores(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        read_tokens(tmp_path / "tokens.zarr")
