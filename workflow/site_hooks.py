"""Hooks of mkdocs: pages that stand elsewhere in the repository, notebooks as pages, and the reference of the public names."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
from mkdocs.structure.files import File, Files

import explaind

ROOT = Path(__file__).parents[1]
#: File in the repository → its page.
PAGES = {
    "README.md": "index.md",
    "results/README.md": "results.md",
    "CONTRIBUTING.md": "contributing.md",
    "CHANGELOG.md": "changes.md",
}
#: Public names beyond those of the package itself.
MORE = ("explaind.plot", "explaind.tables.typed.load")
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)(#[^)\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the pages that are made here."""
    for source, page in PAGES.items():
        text = (ROOT / source).read_text(encoding="utf-8")
        files.append(File.generated(config, page, content=_relinked(text, Path(source).parent)))
    for path in sorted((ROOT / "docs" / "notebooks").glob("*.ipynb")):
        content = "\n\n".join(_cells(path))
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=content))
    files.append(File.generated(config, "reference.md", content=_reference()))
    return files


def on_page_markdown(markdown: str, page: Any, **_: Any) -> str:
    """Links of the guide that lead out of docs/."""
    return markdown if page.file.generated_by else _relinked(markdown, Path("docs"))


def _relinked(text: str, folder: Path) -> str:
    """Links between files of the repository as links between pages; those to files without a page become plain text."""

    def link(found: re.Match[str]) -> str:
        target = (ROOT / folder / found[1]).resolve().relative_to(ROOT)
        anchor = found[2] or ""
        if str(target) in PAGES:
            return f"]({PAGES[str(target)]}{anchor})"
        if target.is_relative_to("docs"):
            return f"]({target.relative_to('docs')}{anchor})"
        return "](#)"

    return re.sub(r"\[([^\]]*)\]\(#\)", r"\1", LINK.sub(link, text))


def _cells(path: Path) -> Iterator[str]:
    """A notebook's cells as Markdown, with their outputs."""
    for cell in nbformat.read(path, 4).cells:
        if cell.cell_type == "markdown":
            yield cell.source
            continue
        yield f"```python\n{cell.source}\n```"
        for output in cell.outputs:
            data = output.get("data", {})
            if "text/html" in data:
                yield re.sub(r"\n\s*\n", "\n", data["text/html"])
            elif "image/png" in data:
                yield f'<img alt="" src="data:image/png;base64,{data["image/png"].strip()}">'
            else:
                yield f"```text\n{output.get('text') or data['text/plain']}\n```"


def _reference() -> str:
    """Every public name, from its docstring."""
    homes = [f"{explaind._HOME[name]}.{name}" for name in explaind.__all__]
    return "# Reference\n\n" + "\n\n".join(f"::: {name}" for name in (*homes, *MORE)) + "\n"
