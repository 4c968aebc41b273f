"""The hub without a network: what is asked for, and its errors in words."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError

from explaind.checkpoints.hub import fetch_file, fetch_revision
from explaind.errors import DataError


def test_only_safetensors_and_json_are_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: dict[str, Any] = {}

    def download(repository: str, **options: Any) -> str:
        asked.update(options, repository=repository)
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(DataError, match="no weights in main of someone/model"):
        fetch_revision("someone/model", "main")
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert fetch_revision("someone/model", "main") == tmp_path
    assert asked == {
        "repository": "someone/model",
        "revision": "main",
        "allow_patterns": ["model*.safetensors", "*.json"],
    }


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (LocalEntryNotFoundError("offline"), "could not be fetched"),
        (ConnectionError("refused"), "could not be fetched"),
        (HFValidationError("bad name"), "There is no repository someone/model"),
    ],
)
def test_errors(monkeypatch: pytest.MonkeyPatch, error: Exception, words: str) -> None:
    def fail(repository: str, **options: Any) -> str:
        raise error

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(DataError, match=words):
        fetch_revision("someone/model", "step-9")


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("RevisionNotFoundError", "has no revision step-9"),
        ("RepositoryNotFoundError", "There is no repository someone/model"),
        ("GatedRepoError", "after a registration only"),
    ],
)
def test_answers_of_the_hub(monkeypatch: pytest.MonkeyPatch, name: str, words: str) -> None:
    kind = getattr(huggingface_hub.errors, name)

    def fail(repository: str, **options: Any) -> str:
        raise kind.__new__(kind)  # its constructor wants a response of the network

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fail)
    with pytest.raises(DataError, match=words):
        fetch_revision("someone/model", "step-9")


def test_one_file_of_a_revision(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[object] = []

    def snapshot(repository: str, *, revision: str, allow_patterns: list[str]) -> str:
        asked.append((repository, revision, allow_patterns))
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", snapshot)
    with pytest.raises(DataError, match=r"The revision main of owner/name has no tokenizer.json"):
        fetch_file("owner/name", "main", "tokenizer.json")
    (tmp_path / "tokenizer.json").write_text("{}")
    assert fetch_file("owner/name", "main", "tokenizer.json") == tmp_path / "tokenizer.json"
    assert asked[-1] == ("owner/name", "main", ["tokenizer.json"])
