"""Text in many languages: paragraphs from packages, folders or the hub, and the token sequences a language model reads.

A language is named by its ISO 639-3 code wherever the text comes from the packages; a folder may name them as it likes. A
paragraph is one line of text in Unicode NFC whose white space is single blanks.
"""

from __future__ import annotations

from explaind.text.corpus import Corpus, read_corpus, write_corpus
from explaind.text.languages import LANGUAGES
from explaind.text.tokens import Tokens, read_tokens, write_tokens

__all__ = ["LANGUAGES", "Corpus", "Tokens", "read_corpus", "read_tokens", "write_corpus", "write_tokens"]
