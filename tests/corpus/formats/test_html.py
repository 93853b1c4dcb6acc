"""HTML: the text that a page shows, block by block, in the encoding that the page declares."""

from pathlib import Path

import pytest

from tests.support.formats import read_file
from tinyedge.corpus.reader import read_documents

PAGE = """<!DOCTYPE html><html><head>
<meta charset="utf-8"><title>Not this</title><style>p {}</style></head>
<body><nav><ul><li>Home</ul></nav>
<h1>The  sea</h1><p>It was a
long <b>way</b> down<br>and caf&eacute; &amp; tea &lt;here&gt;.<p>No end
tag<script>if (a < b) "</p>"</script>, so.
<ul><li>One<li>Two</ul>
<table><tr><td>a</td><td>b</td></tr></table><pre>line one
line two</pre><pre><code>x = 1</code></pre><div hidden>no</div><div style="display: none">no</div>
<div>deep <div>er</div> end</div><!-- no --><ruby>漢<rt>kan</rt></ruby>"""


def test_text_is_read_by_blocks(tmp_path: Path) -> None:
    lines, entry = read_file(tmp_path / "a.html", PAGE)
    assert lines == [
        "The sea",
        "It was a long way down",
        "and café & tea <here>.",
        "No end tag, so.",
        *("One", "Two", "a b", "line one", "line two", "deep", "er", "end", "漢"),
    ]
    assert entry == {
        "code_blocks": 1,
        "scripts": 2,
        "hidden_elements": 2,
        "navigation_elements": 1,
        "page_titles": 1,
    }


def test_what_belongs_to_the_site_is_dropped_and_counted(tmp_path: Path) -> None:
    prose = "The sea was calm and the boat was still. " * 6
    page = f"""<body><header><h1>Site</h1></header><form>Search <input><select><option>a</select></form>
    <article><header><h2>Title</h2></header><p>Text.</p><pre>def f(x):
    return x + 1
    print(f(2))</pre><pre>The sea was calm
    and so was I</pre></article>
    <form action=x><p>{prose}</p></form><div role=contentinfo>Imprint</div><footer>Copyright</footer>"""
    lines, entry = read_file(tmp_path / "a.html", page)
    assert lines == ["Title", "Text.", "The sea was calm", "and so was I", prose.strip()]
    assert entry == {"code_blocks": 1, "page_headers": 3, "forms": 2}


@pytest.mark.parametrize(
    ("block", "sentences"),
    [
        ("the sea was calm tonight<br>and the boat was still,<br>while a bird<br>sang to the moon", 4),
        ("John Smith<br/>12 High Street<br/>London", 3),
        (
            "It was a long way down to the sea, and nobody who lived there<br>had ever gone down to it by"
            " night, because the path was steep<br>and the stones were loose; but on that night a boy went"
            " down<br>alone with a lamp in his hand, and he never looked back again<br>at the village.",
            1,
        ),
    ],
)
def test_line_breaks_of_the_author_are_kept(tmp_path: Path, block: str, sentences: int) -> None:
    (tmp_path / "a.html").write_text(f"<p>Title.</p><p>{block}</p>")
    (document,) = read_documents([tmp_path / "a.html"])
    assert len(document.sentences) == 1 + sentences


@pytest.mark.parametrize(
    "content",
    [
        '<meta charset="iso-8859-1"><p>“Größe”'.encode("cp1252"),  # a browser reads Latin-1 as Windows-1252
        '<meta http-equiv=Content-Type content="text/html; charset=koi8-r"><p>“Größe”'.encode(),
        '<?xml version="1.0" encoding="utf-8"?><html><body><p>“Größe”</p></body></html>'.encode(),
        "<p>“Größe”".encode("utf-16"),
        b"\xef\xbb\xbf" + '<meta charset="cp1251"><p>“Größe”'.encode(),
        '<meta charset="no-such-name"><p>“Größe”'.encode(),
    ],
)
def test_encodings(tmp_path: Path, content: bytes) -> None:
    lines, _ = read_file(tmp_path / "a.htm", content)
    assert lines == ["“Größe”"]


def test_damaged_and_hostile_pages_are_read_to_the_end(tmp_path: Path) -> None:
    deep = "<div>x" * 20_000 + "<p>END"
    formatting = "".join(f"<b id={number}>" for number in range(2_000)) + "<p>x" * 2_000 + "END"
    for page in (deep, formatting, "<p>a < b && c <3 END", "<b><p>un</b>closed</i> END", "plain END"):
        assert read_file(tmp_path / "a.html", page)[0][-1].endswith("END")
    for page in ("<a " * 100_000, "<!--" * 100_000, "", "<html></html>"):
        assert read_file(tmp_path / "a.html", page)[0] == []


def test_telegram_export_keeps_messages_alone(tmp_path: Path) -> None:
    page = """<div class="page_wrap"><div class="page_header"><div class="text bold">Chat</div></div>
    <div class="page_body chat_page"><div class="history">
    <div class="message service"><div class="body details">31 December 2023</div></div>
    <div class="message default"><div class="userpic"><div class="initials">A</div></div><div class="body">
    <div class="pull_right date details" title="x">21:41</div><div class="from_name">Ana</div>
    <div class="text">Hello<br>you</div></div></div></div></div></div>"""
    lines, entry = read_file(tmp_path / "messages.html", page)
    assert lines == ["Hello", "you"]
    assert entry["notices"] == 1
