"""Token sequences: each language's paragraphs as one stream, cut into sequences of the same length.

A stream is all paragraphs of a language and part, each followed by `</s>`. A sequence is `<s>` and the next context − 1 tokens
of the stream; what remains at the end of a stream is left out. Sequences are ordered by language, and no sequence holds two
languages.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import xarray as xr
from tokenizers import Tokenizer
from torch import Tensor

from explaind.errors import ConfigError, DataError
from explaind.store import read_dataset, write_dataset
from explaind.store.files import atomically, write_csv
from explaind.store.manifest import sha256_file
from explaind.text.corpus import PARTS, read_corpus
from explaind.text.languages import english_name
from explaind.text.packages import Texts
from explaind.text.tokenizer import BEGIN, END, make_tokenizer, vocabulary_size

__all__ = ["Tokens", "read_tokens", "write_tokens"]

NARROW = 1 << 16  # vocabularies below this fit uint16
#: By part: the coordinate that names its languages.
NAMES = {"train": "language", "heldout": "heldout_language"}


@dataclass(frozen=True)
class Tokens:
    """Sequences of token ids int64 [N, context], and for each its position in the names of the languages, int64 [N]."""

    train: Tensor
    train_language: Tensor
    heldout: Tensor
    heldout_language: Tensor
    languages: tuple[str, ...]
    heldout_languages: tuple[str, ...]
    vocabulary: int


def write_tokens(
    config: Mapping[str, Any], corpus: Path, *, tokenizer: Path, tokens: Path, table: Path
) -> None:
    """Make the tokenizer, and the corpus as token sequences.

    Args:
        config: `data.{tokenizer,context}`.
        corpus: the folder that `write_corpus` wrote.
        tokenizer: tokenizer.json to write.
        tokens: store "tokens" to write: train (train_sequence, position) and its language (train_sequence), and the same held
            out; token ids as uint16 where they fit, else int32.
        table: CSV to write, one row per language and part. Characters, bytes and tokens are those of the paragraphs, without
            line ends and `</s>`; a part has ⌊(tokens + paragraphs) / (context − 1)⌋ sequences.

    Raises:
        ConfigError: a context too short for a token after `<s>`, or see `make_tokenizer`.
        DataError: a language with less text than one sequence, or see `read_corpus` and `make_tokenizer`.
    """
    data = config["data"]
    if data["context"] < 2:
        raise ConfigError(
            "A sequence holds at least one token after its beginning.",
            expected="a context of at least 2 tokens",
            got=str(data["context"]),
            remedy="Raise data.context.",
        )
    texts = read_corpus(corpus)
    made = make_tokenizer(data["tokenizer"], texts.train)
    vocabulary = vocabulary_size(made)
    dtype = np.uint16 if vocabulary < NARROW else np.int32
    variables: dict[str, Any] = {}
    rows: list[dict[str, Any]] = []
    for part in PARTS:
        held: Texts = getattr(texts, part)
        packed = []
        for language, paragraphs in held.items():
            encoded = _encode(made, paragraphs)
            sequences = _pack(encoded, made, data["context"], f"{language} ({part})").astype(dtype)
            packed.append(sequences)
            rows.append(_row(language, part, paragraphs, encoded, len(sequences)))
        empty = np.empty((0, data["context"]), dtype)
        index = np.repeat(np.arange(len(packed)), [len(sequences) for sequences in packed])
        variables[part] = ((f"{part}_sequence", "position"), np.concatenate([empty, *packed]))
        variables[f"{part}_language_index"] = (f"{part}_sequence", index.astype(np.int16))
        variables[NAMES[part]] = (NAMES[part], np.array(list(held), dtype=str))
    atomically(tokenizer, lambda partial: made.save(str(partial)))
    attrs = {"context": data["context"], "vocabulary": vocabulary, "tokenizer": sha256_file(Path(tokenizer))}
    write_dataset(xr.Dataset(variables, attrs=attrs), tokens, kind="tokens", overwrite=True)
    write_csv(pd.DataFrame(rows), table)


def read_tokens(path: Path, *, vocabulary: int | None = None, context: int | None = None) -> Tokens:
    """The token sequences of a store.

    Args:
        path: the store.
        vocabulary: of the model that shall read them; null: any.
        context: longest sequence of that model, in tokens; null: any.

    Raises:
        StoreError: the store is missing or damaged.
        DataError: its token ids or languages contradict what it says of itself, or do not fit the model.
    """
    store = read_dataset(Path(path), kind="tokens")
    own = int(store.attrs["vocabulary"])
    if vocabulary is not None and own > vocabulary:
        raise DataError(
            f"The tokens in {path} are of a larger vocabulary than the model's.",
            expected=f"at most {vocabulary} tokens",
            got=f"{own} tokens",
            remedy="Give the model this vocabulary (model.vocabulary), or write the tokens again with a smaller one.",
        )
    if context is not None and store.sizes["position"] > context:
        raise DataError(
            f"The sequences in {path} are longer than the model's context.",
            expected=f"at most {context} tokens",
            got=f"{store.sizes['position']} tokens",
            remedy="Lengthen the model's context, or write the tokens again with a smaller data.context.",
        )
    sequences: dict[str, Any] = {}
    for part in PARTS:
        names = tuple(map(str, store[NAMES[part]].values))
        sequences[part] = _checked(store[part].values, own, f"The {part} sequences in {path}", "token ids")
        sequences[f"{part}_language"] = _checked(
            store[f"{part}_language_index"].values, len(names), f"The {part} sequences in {path}", "languages"
        )
        sequences["languages" if part == "train" else "heldout_languages"] = names
    return Tokens(**sequences, vocabulary=own)


def _encode(tokenizer: Tokenizer, paragraphs: Sequence[str]) -> list[list[int]]:
    return [encoding.ids for encoding in tokenizer.encode_batch(list(paragraphs), add_special_tokens=False)]


def _pack(encoded: list[list[int]], tokenizer: Tokenizer, context: int, name: str) -> np.ndarray:
    """Sequences int64 [N, context]."""
    end = tokenizer.token_to_id(END)
    stream = np.fromiter((token for ids in encoded for token in (*ids, end)), dtype=np.int64)
    count, length = len(stream) // (context - 1), context - 1
    if not count:
        raise DataError(
            f"The language {name} has less text than one sequence.",
            expected=f"at least {length} tokens",
            got=f"{len(stream)} tokens",
            remedy="Leave it out, give it more text, or lower data.context.",
        )
    return np.insert(stream[: count * length].reshape(count, length), 0, tokenizer.token_to_id(BEGIN), axis=1)


def _row(language: str, part: str, paragraphs: Sequence[str], encoded: list[list[int]], count: int) -> dict:
    size, tokens = sum(len(text.encode()) for text in paragraphs), sum(map(len, encoded))
    return {
        "language": language,
        "name": english_name(language),
        "part": part,
        "paragraphs": len(paragraphs),
        "characters": sum(map(len, paragraphs)),
        "bytes": size,
        "tokens": tokens,
        "sequences": count,
        "bytes_per_token": size / tokens,
    }


def _checked(values: np.ndarray, bound: int, owner: str, what: str) -> Tensor:
    indices = torch.from_numpy(values.astype(np.int64))
    if indices.numel() and (int(indices.min()) < 0 or int(indices.max()) >= bound):
        raise DataError(
            f"{owner} have {what} that do not exist.",
            expected=f"0 to {bound - 1}",
            got=f"{int(indices.min())} to {int(indices.max())}",
            remedy="Write the tokens again.",
        )
    return indices
