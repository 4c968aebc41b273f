"""The files that the documentation names exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    str(path.relative_to(ROOT))
    for path in (
        *(ROOT / "docs").glob("*.md"),
        *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CITATION.cff", "results/README.md")),
    )
)
FOLDERS = ("explaind", "workflow", "conf", "tests", "docs", "benchmarks")
PLACEHOLDER = re.compile(r"[<{…*]|\.\.\.")


def named_paths(text: str) -> list[str]:
    """Paths in backticks, from the root of the project or, of modules, from the package; no placeholders."""
    spans = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL))
    words = [word.rstrip(".,;:") for span in spans for word in span.split()]
    words = [word for word in words if "/" in word and not PLACEHOLDER.search(word)]
    inside = [word for word in words if word.split("/")[0] in FOLDERS]
    short = [f"explaind/{word}" for word in words if word.endswith(".py") and word not in inside]
    return inside + short


@pytest.mark.parametrize("page", PAGES)
def test_named_paths_exist(page: str) -> None:
    paths = named_paths((ROOT / page).read_text(encoding="utf-8"))
    assert [path for path in paths if not (ROOT / path).exists()] == []


def test_linked_files_exist() -> None:
    lost = [
        (page, target)
        for page in PAGES
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", (ROOT / page).read_text(encoding="utf-8"))
        if not (ROOT / page).parent.joinpath(target).exists()
    ]
    assert lost == []


def test_paths_are_told_from_placeholders() -> None:
    text = "`explaind/a.py`, `ledger/b.py` and `conf/<name>.yaml`, `tests/…`, `make docs`, `see docs/b.md`\n```\n`conf/x`\n```"
    assert named_paths(text) == ["explaind/a.py", "docs/b.md", "explaind/ledger/b.py"]
