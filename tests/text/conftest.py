"""A small corpus in two languages, on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from explaind.text import write_corpus
from tests.text.made import ENGLISH, GREEK, folder, from_folder

SHARE = {"kind": "share", "share": 0.1, "languages": ["eng"]}


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    """A configuration whose corpus was written."""
    texts = folder(tmp_path / "texts", ell="\n".join(GREEK), eng="\n".join(ENGLISH))
    made = from_folder(texts, heldout=SHARE)
    write_corpus(made, tmp_path / "corpus")
    return made
