"""Errors that say what was expected, what was found, and what to do about it.

Every error a user can meet is an `ExplaindError`. Its text is made of full sentences, so that a command line can print
`str(error)` and exit with status 2, without a traceback.
"""

from __future__ import annotations


class ExplaindError(Exception):
    """A problem the user can understand and act on.

    Args:
        problem: what went wrong, one sentence.
        expected: what would have been right.
        got: what was found instead.
        remedy: what the user can do.

    The four parts stay readable as attributes; `str()` joins those that are given.
    """

    def __init__(
        self,
        problem: str,
        *,
        expected: str | None = None,
        got: str | None = None,
        remedy: str | None = None,
    ) -> None:
        self.problem = problem
        self.expected = expected
        self.got = got
        self.remedy = remedy
        super().__init__(problem)

    def __str__(self) -> str:
        parts = [_sentence(self.problem)]
        for title, text in (("Expected", self.expected), ("Got", self.got), ("Remedy", self.remedy)):
            if text is not None:
                parts.append(f"{title}: {_sentence(text)}")
        return " ".join(parts)

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword-only arguments would be lost by Exception's own pickling, and workers send errors across processes.
        return _rebuild, (type(self), self.problem, self.expected, self.got, self.remedy)


class ConfigError(ExplaindError):
    """An option is unknown, missing, or outside its range."""


class DataError(ExplaindError):
    """A data set is missing, damaged, or not what the model needs."""


class StoreError(ExplaindError):
    """A store on disk is missing, incomplete, damaged, or of another kind or version."""


class RecordingError(ExplaindError):
    """A training run cannot be recorded faithfully, so it is refused."""


class TrainingError(ExplaindError):
    """Training itself failed, for example with non-finite parameters."""


class LedgerError(ExplaindError):
    """The recorded terms do not reproduce the observed update."""


class QueryError(ExplaindError):
    """An influence query asks for something that does not exist or cannot be computed."""


class TraceError(ExplaindError):
    """The traced evaluation of a model stopped agreeing with the model, after numbers were computed with it."""


class QuadratureWarning(UserWarning):
    """Some updates keep a quadrature error above the tolerance at the largest number of nodes; the error is reported."""


class RecordingWarning(UserWarning):
    """Something happened while a run was recorded that its updates do not show, and that may have been meant otherwise."""


class ReplayWarning(UserWarning):
    """An answer rests on updates that do not follow from the recorded batches, and was requested nevertheless."""


class CertificateError(ExplaindError):
    """A certificate's measured error is above its tolerance."""


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith((".", "!", "?")) else text + "."


def _rebuild(
    kind: type[ExplaindError], problem: str, expected: str | None, got: str | None, remedy: str | None
) -> ExplaindError:
    return kind(problem, expected=expected, got=got, remedy=remedy)
