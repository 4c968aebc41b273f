"""What is selected on the page, as it stands in the page's address."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from explaind.errors import QueryError
from explaind.explore.views.checkpoints import TERMS

__all__ = ["State"]

MOST = 500  # predictions that may be summed
MATRICES = ("kernel", "similarity")


@dataclass(frozen=True)
class State:
    """What is selected. Every field has a name of its own in the page's address.

    Attributes:
        run, other: keys of the run and of the one beside it ("": none).
        tests: numbers of the chosen predictions, rising.
        output: see `explaind.explore.questions.Question`.
        start, stop: the window of updates; stop 0 for the whole run.
        cumulative, phase: how the timeline is drawn.
        window, layer, matrix: the kernel that is shown.
        rows, columns: the part of it.
        term, language: of explained checkpoints.
    """

    run: str
    other: str = ""
    tests: tuple[int, ...] = ()
    output: str = "true"
    start: int = 0
    stop: int = 0
    cumulative: bool = True
    phase: bool = False
    window: str = ""
    layer: str = ""
    matrix: str = "kernel"
    rows: tuple[int, int] = (0, 0)
    columns: tuple[int, int] = (0, 0)
    term: str = "batch"
    language: str = ""

    @classmethod
    def read(cls, fields: Mapping[str, str]) -> State:
        """From the fields of an address.

        Raises:
            QueryError: one of them is not what it must be.
        """
        try:
            tests = tuple(sorted({int(t) for t in fields.get("tests", "").split(",") if t}))
            output = fields.get("output", "true")
            if output not in ("true", "margin", "loss"):
                output = str(int(output))
            rows, columns = (_pair(fields.get(name, "0,0")) for name in ("rows", "columns"))
            start, stop = (int(fields.get(name, "0")) for name in ("start", "stop"))
        except ValueError as error:
            raise QueryError("The page's address is not understood.", got=str(error)) from error
        if len(tests) > MOST or any(t < 0 for t in tests):
            raise QueryError(
                "The selection is not usable.", expected=f"at most {MOST} predictions", got=f"{len(tests)}"
            )
        state = cls(
            fields.get("run", ""),
            other=fields.get("other", ""),
            tests=tests,
            output=output,
            start=start,
            stop=stop,
            cumulative=fields.get("cumulative", "1") == "1",
            phase=fields.get("phase", "0") == "1",
            window=fields.get("window", ""),
            layer=fields.get("layer", ""),
            matrix=fields.get("matrix", "kernel"),
            rows=rows,
            columns=columns,
            term=fields.get("term", "batch"),
            language=fields.get("language", ""),
        )
        if state.term not in TERMS or state.matrix not in MATRICES:
            raise QueryError("The page's address names a view that does not exist.")
        return state


def _pair(text: str) -> tuple[int, int]:
    first, second = text.split(",")
    return int(first), int(second)
