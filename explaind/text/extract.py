"""Paragraphs out of Mallard pages (XML, GNOME's manuals) and HTML pages (DocBook's, and the declaration's).

A page is a sequence of blocks; inside a block, inline elements only mark its text. A block becomes a paragraph: white space
collapsed, Unicode NFC. What is no running text is left out: metadata, credits, code blocks, pictures, tables of contents.
"""

from __future__ import annotations

import re
import unicodedata
from html.parser import HTMLParser
from xml.etree import ElementTree

from explaind.errors import DataError

__all__ = ["clean", "html", "mallard", "width"]

_MALLARD = "{http://projectmallard.org/1.0/}"
# Alternatives for variants of the desktop: all of them are text.
_CONDITIONS = "{http://projectmallard.org/if/1.0/}"
_INLINE = frozenset(
    ("app", "cmd", "code", "em", "file", "gui", "guiseq", "hi")
    + ("input", "key", "keyseq", "link", "output", "span", "sys", "var")
)
# In these, `code` is a word of a sentence; elsewhere it is a block.
_SENTENCES = {"p", "title", "subtitle", "desc", "cite"}
# As GNOME's viewer shows paths through menus, and keys that are held together.
_JOINED = {"guiseq": " ▸ ", "keyseq": "+"}
_DROPPED = {"media", "screen", "comment", "links", "credit"}
_HTML_INLINE = frozenset(
    ("a", "abbr", "acronym", "b", "br", "cite", "code", "em", "font", "i", "img")
    + ("kbd", "q", "samp", "small", "span", "strong", "sub", "tt", "u", "var")
)
_HTML_DROPPED = {"head", "pre", "script", "style", "sup"}  # sup: the numbers of footnotes
_HTML_DROPPED_CLASSES = {"navheader", "navfooter", "toc", "legalnotice", "copyright"}
_NUMBER = re.compile(r"^(?:[A-Z]\.)?(?:\d+\.)+\s")  # "2.1.3. ", "B.4.1. " before a heading
_EMPTY_BRACKETS = re.compile(r"\s?(?:\(\s*\)|（\s*）)")  # where a picture was
_INVISIBLE = dict.fromkeys(map(ord, "\ufeff\u200b\u00ad"))  # byte order mark, zero-width space, soft hyphen


def clean(text: str) -> str:
    """One line: Unicode NFC, white space (line ends of all kinds included) as single blanks, no invisible separators."""
    return " ".join(unicodedata.normalize("NFC", text.translate(_INVISIBLE)).split())


def width(text: str) -> int:
    """Columns on a terminal: a Chinese, Japanese or Korean character takes two, and says about as much as two letters."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def mallard(raw: bytes, name: str) -> list[str]:
    """The paragraphs of one page, in order.

    Args:
        raw: the file.
        name: of the file, for the error.

    Raises:
        DataError: no well-formed XML.
    """
    try:
        root = ElementTree.fromstring(raw)
    except ElementTree.ParseError as error:
        raise DataError(f"{name} is no Mallard page.", expected="well-formed XML", got=str(error)) from error
    blocks = _Blocks()
    _walk(root, blocks, sentence=False)
    blocks.border()
    return blocks.paragraphs


def html(raw: bytes, name: str) -> list[str]:
    """The paragraphs of one page, in order; arguments and errors as of `mallard`, for UTF-8."""
    try:
        text = raw.decode()
    except UnicodeDecodeError as error:
        raise DataError(f"{name} is not UTF-8.", got=f"another byte at byte {error.start}") from error
    parser = _Page()
    parser.feed(text)
    parser.close()
    parser.blocks.border()
    return parser.blocks.paragraphs


class _Blocks:
    """The text between two borders is a paragraph; one from which an element was left out is none."""

    def __init__(self) -> None:
        self.paragraphs: list[str] = []
        self._pieces: list[str] = []
        self._complete = True

    def text(self, text: str | None) -> None:
        self._pieces.append(text or "")

    def hole(self) -> None:
        self._complete = False

    def border(self, *, heading: bool = False) -> None:
        text = clean(_EMPTY_BRACKETS.sub("", "".join(self._pieces)))
        if heading:
            text = _NUMBER.sub("", text)
        if text and self._complete:
            self.paragraphs.append(text)
        self._pieces, self._complete = [], True


def _walk(element: ElementTree.Element, blocks: _Blocks, *, sentence: bool) -> None:
    """Add the text inside an element, without what follows it."""
    name = element.tag.removeprefix(_MALLARD)
    if name.startswith("{"):
        if not name.startswith(_CONDITIONS):
            return  # credits of translators, subtitles of films, rules for translation
    elif name in _DROPPED or (name == "code" and not sentence):
        return
    elif name == "info":  # metadata, but for the sentence that describes the page
        for description in element.findall(f"{_MALLARD}desc"):
            _walk(description, blocks, sentence=False)
        return
    inline = name in _INLINE
    if name == "link" and not "".join(element.itertext()).strip():
        blocks.hole()  # the viewer writes the title of the page there, which is not here
    if not inline:
        blocks.border()
    inside = sentence or inline or name in _SENTENCES
    joined = _JOINED.get(name)
    blocks.text(element.text if joined is None else "")
    for position, child in enumerate(element):
        if joined and position:
            blocks.text(joined)
        _walk(child, blocks, sentence=inside)
        blocks.text(child.tail if joined is None else "")
    if not inline:
        blocks.border()


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.blocks = _Blocks()
        self._dropped: str | None = (
            None  # the element being left out, and how deep its own name is nested in it
        )
        self._depth = 0

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._dropped is not None:
            self._depth += tag == self._dropped
            return
        classes = set((dict(attrs).get("class") or "").split())
        if tag not in _HTML_INLINE and tag != "sup":
            self.blocks.border()
        if tag == "br":
            self.blocks.text("\n")
        if tag in _HTML_DROPPED or classes & _HTML_DROPPED_CLASSES:
            self._dropped, self._depth = tag, 1

    def handle_endtag(self, tag: str) -> None:
        if self._dropped is not None:
            self._depth -= tag == self._dropped
            if not self._depth:
                self._dropped = None
        elif tag not in _HTML_INLINE:
            self.blocks.border(heading=re.fullmatch("h[1-6]", tag) is not None)

    def handle_data(self, data: str) -> None:
        if self._dropped is None:
            self.blocks.text(data)
