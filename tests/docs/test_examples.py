"""The README's and the guide's examples run as they are printed, and their links lead somewhere."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import pytest

from explaind.cli import main

ROOT = Path(__file__).parents[2]
PAGES = (
    "README.md",
    "CONTRIBUTING.md",
    "docs/method.md",
    "docs/own-run.md",
    "docs/checkpoints.md",
    "docs/cluster.md",
    "docs/extending.md",
    "docs/options.md",
)
WITH_EXAMPLES = ("README.md", "docs/own-run.md", "docs/checkpoints.md")


def blocks(page: str, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", (ROOT / page).read_text(), re.DOTALL | re.MULTILINE)


@pytest.mark.filterwarnings(
    "ignore:Behaviour of argmin/argmax:FutureWarning"
)  # xarray's, in the printed certificate
@pytest.mark.parametrize("page", WITH_EXAMPLES)
def test_examples_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python blocks share a namespace; one that begins with a file's name becomes that file too, for the command line."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", list(sys.path))
    namespace: dict[str, object] = {"__name__": "example"}
    for number, block in enumerate(blocks(page, "python"), start=1):
        if named := re.match(r"# (\w+\.py)\n", block):
            Path(named[1]).write_text(block)
        exec(compile(block, f"{page}, block {number}", "exec"), namespace)
    commands = "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines()
    for words in (shlex.split(line, comments=True) for line in commands):
        if words[:1] == ["explaind"]:
            assert main(words[1:]) == 0, words
    sys.modules.pop("my_training", None)


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    """Links to files of the repository; images are drawn by the workflow."""
    links = re.findall(r"(?<!!)\[[^\]]*\]\(([^)#\s]+)", (ROOT / page).read_text())
    inside = [link for link in links if "://" not in link]
    missing = [link for link in inside if not ((ROOT / page).parent / link).exists()]
    assert not missing
