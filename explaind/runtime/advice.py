"""What to do about a damaged input of a job: the store's own error knows neither the workflow nor its command."""

from __future__ import annotations

from collections.abc import Iterable

from explaind.errors import ExplaindError, StoreError

__all__ = ["advice"]


def advice(error: ExplaindError, inputs: Iterable[str]) -> str:
    """The error's sentences; where it names one of a job's inputs that is damaged, also how the workflow makes that anew."""
    text = str(error)
    named = [path for path in inputs if path in text] if isinstance(error, StoreError) else []
    if not named:
        return text
    return f"{text} In the workflow: snakemake --cores 2 --forcerun {max(named, key=len)}, with the options of this call."
