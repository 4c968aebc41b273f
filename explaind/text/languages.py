"""The 35 languages of EuroLLM (Martins et al., arXiv 2409.16235), and where the packages hold text in each.

Three sources, each with names of its own for a language: GNOME's user documentation (`gnome`, folders of locales; English is
"C"), Debian's installation guide (`debian`, folders of locales), and the Universal Declaration of Human Rights
(`declaration`, one file per translation). The declaration exists in all 35 languages. The two manuals do not exist in
Arabic, Slovak, Estonian, Bulgarian, Norwegian Bokmål, Irish and Maltese: these have no text to train on.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LANGUAGES", "Language", "english_name"]


@dataclass(frozen=True)
class Language:
    """One language: its English name, its file of the declaration, and its folders in the two manuals."""

    name: str
    declaration: str
    gnome: tuple[str, ...] = ()
    debian: tuple[str, ...] = ()


#: By ISO 639-3 code.
LANGUAGES: dict[str, Language] = {
    "eng": Language("English", "eng", ("C",), ("en",)),
    "deu": Language("German", "deu_1996", ("de",), ("de",)),
    "spa": Language("Spanish", "spa", ("es",), ("es",)),
    "fra": Language("French", "fra", ("fr",), ("fr",)),
    "ita": Language("Italian", "ita", ("it",), ("it",)),
    "por": Language("Portuguese", "por_PT", ("pt", "pt_BR"), ("pt",)),
    "cmn": Language("Chinese", "cmn_hans", ("zh_CN",), ("zh_CN",)),
    "jpn": Language("Japanese", "jpn", ("ja",), ("ja",)),
    "rus": Language("Russian", "rus", ("ru",), ("ru",)),
    "pol": Language("Polish", "pol", ("pl",)),
    "nld": Language("Dutch", "nld", ("nl",), ("nl",)),
    "arb": Language("Arabic", "arb"),
    "tur": Language("Turkish", "tur", ("tr",)),
    "swe": Language("Swedish", "swe", ("sv",), ("sv",)),
    "ces": Language("Czech", "ces", ("cs",), ("cs",)),
    "ell": Language("Greek", "ell_monotonic", ("el",), ("el",)),
    "kor": Language("Korean", "kor", ("ko",), ("ko",)),
    "hin": Language("Hindi", "hin", ("hi",)),
    "hun": Language("Hungarian", "hun", ("hu",)),
    "ron": Language("Romanian", "ron_2006", ("ro",), ("ro",)),
    "fin": Language("Finnish", "fin", ("fi",)),
    "ukr": Language("Ukrainian", "ukr", ("uk",)),
    "slk": Language("Slovak", "slk"),
    "dan": Language("Danish", "dan", ("da",), ("da",)),
    "lit": Language("Lithuanian", "lit", ("lt",)),
    "lvs": Language("Latvian", "lav", ("lv",)),
    "slv": Language("Slovenian", "slv", ("sl",)),
    "est": Language("Estonian", "est"),
    "bul": Language("Bulgarian", "bul"),
    "nob": Language("Norwegian", "nob"),
    "cat": Language("Catalan", "cat", ("ca",), ("ca",)),
    "hrv": Language("Croatian", "hrv", ("hr",)),
    "gle": Language("Irish", "gle"),
    "mlt": Language("Maltese", "mlt"),
    "glg": Language("Galician", "glg", ("gl",)),
}


def english_name(language: str) -> str:
    """The English name of a language; a language that is not in the table keeps the name that it has."""
    return LANGUAGES[language].name if language in LANGUAGES else language
