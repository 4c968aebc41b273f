"""Published weights from the Hugging Face hub: safetensors and JSON alone, no pickle; kept in the hub's own cache.

The hub holds weights. The state of an optimizer is hardly ever published and must come from those who trained the model.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from explaind.errors import DataError

__all__ = ["fetch_file", "fetch_revision"]

PATTERNS = ("model*.safetensors", "*.json")


def fetch_revision(repository: str, revision: str) -> Path:
    """The folder of one revision's weights and configuration, downloaded unless it is in the cache.

    Args:
        repository: owner/name, such as "utter-project/EuroLLM-1.7B".
        revision: branch, tag or commit.

    Raises:
        DataError: no connection and not in the cache, no such repository or revision, or no safetensors in it.
    """
    folder = _snapshot(repository, revision, PATTERNS)
    if not any(folder.glob("model*.safetensors")):
        raise DataError(
            f"There are no weights in {revision} of {repository} that can be read without running code.",
            expected="model.safetensors, or shards of it",
            got="none",
            remedy="Choose a revision with safetensors, or convert the weights.",
        )
    return folder


def fetch_file(repository: str, revision: str, file: str) -> Path:
    """One file of a revision, such as tokenizer.json; errors as of `fetch_revision`."""
    path = _snapshot(repository, revision, (file,)) / file
    if not path.is_file():
        raise DataError(
            f"The revision {revision} of {repository} has no {file}.",
            expected=file,
            got="no such file",
            remedy="Choose another revision, or give a file of your own.",
        )
    return path


def _snapshot(repository: str, revision: str, patterns: Sequence[str]) -> Path:
    """The folder of one revision in the hub's cache, with the files that fit the patterns."""
    from huggingface_hub import snapshot_download  # takes a second to import
    from huggingface_hub.errors import (
        GatedRepoError,
        HFValidationError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    wanted = f"{revision} of {repository}"
    try:
        folder = Path(snapshot_download(repository, revision=revision, allow_patterns=list(patterns)))
    except GatedRepoError as error:
        problem, remedy = (
            f"The files {wanted} are given out after a registration only",
            "Register on the hub and log in",
        )
        raise _failed(problem, error, remedy) from error
    except (RepositoryNotFoundError, HFValidationError) as error:
        problem = f"There is no repository {repository} on the Hugging Face hub, or it is private"
        raise _failed(problem, error, "Correct checkpoints.repository") from error
    except RevisionNotFoundError as error:
        problem = f"The repository {repository} has no revision {revision}"
        raise _failed(problem, error, "Correct checkpoints.revisions: branches, tags or commits") from error
    except Exception as error:  # the hub's errors, its connection's and the disk's have no common base
        problem = f"The files {wanted} could not be fetched from the Hugging Face hub"
        remedy = "Check the connection and repeat: what has arrived is kept. Or give a folder: checkpoints.source=folder"
        raise _failed(problem, error, remedy) from error
    return folder


def _failed(problem: str, error: Exception, remedy: str) -> DataError:
    return DataError(problem, got=f"{type(error).__name__}: {str(error)[:200]}", remedy=remedy)
