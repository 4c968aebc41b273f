"""The tokenizer: byte-level BPE, trained on the corpus or loaded from a file.

Every text can be written with the 256 bytes, so there is no unknown token. `<s>` begins a sequence and `</s>` ends a
paragraph; where they occur in a text they are ordinary characters.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer
from tokenizers.decoders import ByteLevel as ByteLevelDecoder
from tokenizers.models import BPE
from tokenizers.pre_tokenizers import ByteLevel
from tokenizers.trainers import BpeTrainer

from explaind.checkpoints.hub import fetch_file
from explaind.errors import ConfigError, DataError
from explaind.text.packages import Texts

__all__ = ["BEGIN", "END", "make_tokenizer", "vocabulary_size"]

BEGIN, END = "<s>", "</s>"
SMALLEST = 256 + 2  # every byte, and the two special tokens


def make_tokenizer(options: Mapping[str, Any], train: Texts) -> Tokenizer:
    """The tokenizer that the configuration asks for.

    Args:
        options: `data.tokenizer`: `kind`, `file`, `repository` and `revision` on the hub, `vocabulary` (largest
            number of tokens) and `paragraphs` (to train on,
            the first of each language; null: all).
        train: paragraphs to train on, by language.

    Raises:
        ConfigError: no file given, or a vocabulary without room for every byte.
        DataError: a file that holds no such tokenizer, or a larger one.
    """
    if options["kind"] == "hub":
        options = {
            **options,
            "file": fetch_file(options["repository"], options["revision"], "tokenizer.json"),
        }
    tokenizer = _train(options, train) if options["kind"] == "train" else _load(options)
    tokenizer.no_padding()
    tokenizer.no_truncation()
    tokenizer.encode_special_tokens = True  # "</s>" in a text is a text, and ends nothing
    return tokenizer


def vocabulary_size(tokenizer: Tokenizer) -> int:
    """One more than the largest token id, so that a model of this vocabulary has a row for every token."""
    return max(tokenizer.get_vocab(with_added_tokens=True).values()) + 1


def _train(options: Mapping[str, Any], train: Texts) -> Tokenizer:
    if options["vocabulary"] < SMALLEST:
        raise ConfigError(
            "The vocabulary has no room for every byte.",
            expected=f"at least {SMALLEST} tokens",
            got=str(options["vocabulary"]),
            remedy="Raise data.tokenizer.vocabulary.",
        )
    tokenizer = Tokenizer(BPE())
    tokenizer.pre_tokenizer = ByteLevel(add_prefix_space=False)
    tokenizer.decoder = ByteLevelDecoder()
    trainer = BpeTrainer(
        vocab_size=options["vocabulary"],
        min_frequency=2,  # a merge that occurs once shortens nothing else
        special_tokens=[BEGIN, END],
        initial_alphabet=sorted(ByteLevel.alphabet()),
        show_progress=False,
    )

    def paragraphs() -> Iterator[str]:
        for texts in train.values():
            yield from islice(texts, options["paragraphs"])

    tokenizer.train_from_iterator(paragraphs(), trainer)
    return tokenizer


def _load(options: Mapping[str, Any]) -> Tokenizer:
    if not options["file"]:
        raise ConfigError(
            "A tokenizer of kind file needs its file.",
            expected="the path of a tokenizer.json as data.tokenizer.file",
            got="nothing",
            remedy="Set data.tokenizer.file, or data.tokenizer.kind=train.",
        )
    path = Path(options["file"])
    try:
        tokenizer = Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises plain Exception, for a missing file too
        raise DataError(
            f"{path} holds no tokenizer.",
            expected="a tokenizer.json of the library tokenizers",
            got=str(error)[:200],
            remedy="Correct data.tokenizer.file.",
        ) from error
    if absent := [token for token in (BEGIN, END) if tokenizer.token_to_id(token) is None]:
        raise DataError(
            f"The tokenizer {path} has no token {' and no '.join(absent)}.",
            expected=f"{BEGIN} to begin a sequence and {END} to end a paragraph",
            got=f"neither or one of them, in {vocabulary_size(tokenizer)} tokens",
            remedy="Use another tokenizer, or data.tokenizer.kind=train.",
        )
    if (size := vocabulary_size(tokenizer)) > options["vocabulary"]:
        raise DataError(
            f"The tokenizer {path} has more tokens than the model.",
            expected=f"at most {options['vocabulary']} tokens",
            got=f"{size} tokens",
            remedy="Raise data.tokenizer.vocabulary, or use a smaller tokenizer.",
        )
    return tokenizer
