"""What of a page is text, and how it is written."""

from __future__ import annotations

import pytest

from explaind.errors import DataError
from explaind.text.extract import clean, html, mallard, width

PAGE = """<?xml version="1.0" encoding="utf-8"?>
<page xmlns="http://projectmallard.org/1.0/" xmlns:if="http://projectmallard.org/if/1.0/" id="made">
  <info>
    <link type="guide" xref="index"/>
    <revision date="2020-01-01"/>
    <credit type="author"><name>An Author</name><email>author@example.org</email></credit>
    <include href="legal.xml" xmlns="http://www.w3.org/2001/XInclude"/>
    <title type="link">A title for links</title>
    <desc>What the <em>page</em> is about.</desc>
    <mal:credit xmlns:mal="http://projectmallard.org/1.0/"><mal:name>A Translator</mal:name></mal:credit>
    <license><p>A licence</p></license>
  </info>
  <title>The
     title</title>
  <comment><p>A remark between authors.</p></comment>
  <p>Press <keyseq><key>Ctrl</key> <key>C</key></keyseq> in
    <guiseq><gui>Settings</gui> <gui>Color</gui></guiseq>,
    or type <code>ls -l</code> (<media src="x.png"><p>A picture</p></media>).</p>
  <p>This sentence has a hole, see <link xref="another"/>.</p>
  <p>This one has none, see <link xref="another">another page</link>.</p>
  <code>a block of code</code>
  <screen>what a screen shows</screen>
  <media type="image" src="x.png"><p>Instead of a picture</p></media>
  <if:choose><if:when test="platform:classic"><p>One variant.</p></if:when></if:choose>
  <tt:p xmlns:tt="http://www.w3.org/ns/ttml">A subtitle of a film</tt:p>
  <steps><item><p>First.</p></item><item><p>Second.</p><list><item><p>Inner.</p></item></list></item></steps>
  <tree><item>A folder<item>A file in it</item></item></tree>
  <table><tr><td><p>One</p></td><td><p>Two</p></td></tr></table>
</page>"""


def test_a_mallard_page_is_its_sentences_in_order() -> None:
    assert mallard(PAGE.encode(), "made.page") == [
        "What the page is about.",
        "The title",
        "Press Ctrl+C in Settings ▸ Color, or type ls -l.",
        "This one has none, see another page.",
        "One variant.",
        "First.",
        "Second.",
        "Inner.",
        "A folder",
        "A file in it",
        "One",
        "Two",
    ]


def test_a_page_that_is_no_xml_is_named() -> None:
    with pytest.raises(DataError, match="de/made.page is no Mallard page.*well-formed XML.*line 1"):
        mallard(b"<page><p></page>", "de/made.page")


DOCUMENT = """<html><head><title>Left out</title><style>p {}</style></head><body>
<div class="navheader"><div>Back</div> and forth</div>
<div class="titlepage"><h2 class="title"><a name="x"></a>2.1.3. A heading</h2><h3>B.4. Another</h3>
<p class="copyright">Copyright</p><div class="legalnotice"><p>A licence</p></div></div>
<div class="toc"><dl class="toc"><dt>1. A chapter</dt></dl></div>
<p>
Text with <span class="quote">“<span>quotes</span>”</span>,<br>a footnote<sup>[<a href="#f">1</a>]</sup> &amp; <code>code</code>.

<div class="informalexample"><pre class="screen">a <b>screen</b></pre></div>
2.5. After it.</p>
<ul><li>An item<li>Another</ul>
<script>var x = "<p>not text</p>";</script>
<p>See the picture (<img src="x.png">).</p>
<div class="navfooter">Forth</div>the end</body></html>"""


def test_an_html_page_is_its_sentences_in_order() -> None:
    assert html(DOCUMENT.encode(), "made.html") == [
        "A heading",
        "Another",
        "Text with “quotes”, a footnote & code.",
        "2.5. After it.",
        "An item",
        "Another",
        "See the picture.",
        "the end",
    ]


def test_a_page_that_is_not_utf8_is_named_with_the_byte() -> None:
    with pytest.raises(DataError, match=r"made.html is not UTF-8.*at byte 4"):
        html(b"<p>x\xff</p>", "made.html")


def test_text_is_one_line_in_one_normal_form() -> None:
    assert clean(" e\u0301\u2028a\u0085b\u00a0\u3000c\r\n\x1cd\ufeff\u00ad\u200b ") == "é a b c d"
    assert clean("क्\u200dष") == "क्\u200dष", "a joiner is part of the word"


def test_wide_characters_take_two_columns() -> None:
    assert [width(text) for text in ("abc", "é", "漢字", "한글", "हिन्दी", "ｱ")] == [3, 1, 4, 4, 6, 1]
