"""HTML: the text of a page without scripts, styles, navigation and head.

In: an HTML file, or the bytes of a page. Out: its lines; a block element is a paragraph. An element without
an end tag, or any other error, is read as a browser does. Does not decide whether lines belong together.
"""

import codecs
import re
from collections.abc import Iterator
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.characters import repair_bytes
from tinyedge.corpus.encoding import CHUNK_BYTES, open_file, read_text_chunks
from tinyedge.corpus.formats.markup import Attributes, Chunks, MarkupRules, read_html
from tinyedge.corpus.read_notes import ReadNotes

_BLOCKS_NAMES = (
    "address article aside blockquote body caption center dd details dialog dir div dl dt fieldset"
    " figcaption figure footer form h1 h2 h3 h4 h5 h6 header hgroup hr html iframe legend li main menu nav"
    " noscript ol optgroup option p pre search section select summary table tbody textarea tfoot thead tr"
    " ul head title"
)
_BLOCKS = frozenset(_BLOCKS_NAMES.split())
_DROPPED_NAMES = (
    "script style nav template noscript iframe object svg math select button textarea rt rp audio"
    " video canvas title"
)
_DROPPED = frozenset(_DROPPED_NAMES.split())
_COUNTED = (
    dict.fromkeys(("select", "button", "textarea"), "forms")
    | dict.fromkeys(("iframe", "object", "svg", "math", "audio", "video", "canvas"), "embedded_elements")
    | {"nav": "navigation_elements"}
)
# Each page of a book has a title and a style sheet; only those of a web page are counted.
_COUNTED_IN_SITE = (
    _COUNTED
    | dict.fromkeys(("script", "style", "template", "noscript"), "scripts")
    | {"title": "page_titles"}
)
_PAGE_PARTS = frozenset({"header", "footer"})
_SECTIONS = frozenset({"article", "section", "main", "aside", "blockquote", "figure", "dialog", "td"})
_SPACED = {"br": "\n", "td": " ", "th": " "}
_PREFORMATTED = frozenset({"pre", "listing", "xmp", "plaintext"})

_CHECKED = frozenset({"form", "pre", "listing", "xmp"})
MIN_FORM_CHARS = 200  # of sentences in a form that contains the text of a page, as ASP.NET writes it
MIN_SENTENCE_WORDS = 5
MIN_CODE_SHARE = 0.3  # of the lines of preformatted text that is code
_SENTENCE_END = re.compile(r"[.!?…。！？][\"'”’»)]*$")
_CODE = re.compile(
    r"[{}<>=|\\$@#`~]|\w\(\S*\)|\w_\w|::|//|&&|\s--?\w|^\s*(?:sudo|pip|npm|git|apt|cd|docker|curl|import)\s"
)

# The encoding that a page declares, in its first bytes (WHATWG HTML, "prescan a byte stream").
_CHARSET = re.compile(rb"<meta[^>]{0,500}?charset\s*=\s*[\"']?\s*([\w.:-]{1,40})", re.IGNORECASE)
_XML_ENCODING = re.compile(rb"^\s*<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{1,40})", re.IGNORECASE)
# WHATWG Encoding: pages that declare these are Windows-1252.
_WINDOWS_1252_NAMES = frozenset({"iso8859-1", "ascii", "cp1252", "latin-1"})
_SEVEN_BIT = ("iso2022", "hz", "utf-7")  # their bytes are ASCII, and so valid UTF-8

# Telegram's export of a chat.
_TELEGRAM = re.compile(rb"class=\"page_wrap\".{0,20000}?class=\"history\"", re.DOTALL)
_TELEGRAM_DROPPED_NAMES = "details from_name initials userpic media_wrap page_header reactions signature"
_TELEGRAM_DROPPED = frozenset(_TELEGRAM_DROPPED_NAMES.split())


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of a page.

    Raises:
        CorpusError: The file cannot be read as text.
        MissingDependencyError: lxml is not installed.
    """
    with open_file(path) as file:
        head = file.read(CHUNK_BYTES)
    texts = read_text_chunks(path, notes, _choose_encoding(path, head))
    chunks = (repair_bytes(text, notes).encode() for text in texts)
    yield from read_page(chunks, "utf-8", notes, is_site=True, is_telegram=bool(_TELEGRAM.search(head)))


def read_page(
    chunks: Chunks, encoding: str, notes: ReadNotes, *, is_site: bool = False, is_telegram: bool = False
) -> Iterator[str]:
    """Stream the lines of a page.

    Args:
        chunks: Bytes of the page.
        encoding: Encoding of the bytes.
        notes: Receives what is dropped.
        is_site: Whether it is a page of a web site, which may have a header and a footer, not of a book.
        is_telegram: Whether the page is Telegram's export of a chat, of which only messages are text.
    """

    def is_dropped(name: str, attributes: Attributes) -> str:
        return _find_reason(name, attributes, is_telegram)

    rules = MarkupRules(
        _BLOCKS,
        _DROPPED,
        _SPACED,
        _PREFORMATTED,
        counted=_COUNTED_IN_SITE if is_site else _COUNTED,
        page_parts=_PAGE_PARTS if is_site else frozenset(),
        sections=_SECTIONS,
        checked=_CHECKED,
        check_lines=_check_lines,
        is_dropped=is_dropped,
    )
    return read_html(chunks, encoding, rules, notes)


def find_declared_encoding(head: bytes) -> str | None:
    """Return the encoding that the start of a page declares, or None; a byte-order mark comes before it."""
    if head.startswith((codecs.BOM_UTF8, codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return None
    found = _XML_ENCODING.search(head[:1024]) or _CHARSET.search(head[:8192])
    if not found:
        return None
    try:
        name = codecs.lookup(found[1].decode("ascii")).name
    except LookupError:
        return None
    if name in _WINDOWS_1252_NAMES:
        return "cp1252"
    # In a page of UTF-16 the declaration would not have been found.
    return None if name.startswith(("utf-16", "utf-32")) else name


def _choose_encoding(path: Path, head: bytes) -> str:
    """Return the encoding of a page, or "" if it must be found from its bytes.

    UTF-8 is tried first, whatever the page declares: other text is hardly ever valid UTF-8.
    """
    declared = find_declared_encoding(head)
    if declared is None:
        return ""
    candidates = [declared] if declared.startswith(_SEVEN_BIT) else ["utf-8", declared]
    return next((name for name in candidates if _is_valid(path, name)), "")


def _is_valid(path: Path, encoding: str) -> bool:
    """Whether all bytes of a file are valid in the encoding that it declares."""
    try:
        for _ in read_text_chunks(path, ReadNotes(path), encoding):
            pass
    except (CorpusError, LookupError):
        return False
    return True


def _check_lines(name: str, lines: list[str]) -> str:
    """Return what to count for a form without text, or for preformatted code, or ""."""
    filled = list(filter(None, lines))
    if name == "form":
        sentences = [
            line for line in filled if len(line.split()) >= MIN_SENTENCE_WORDS and _SENTENCE_END.search(line)
        ]
        return "" if sum(map(len, sentences)) >= MIN_FORM_CHARS else "forms"
    code = sum(bool(_CODE.search(line)) for line in filled)
    return "code_blocks" if filled and code >= MIN_CODE_SHARE * len(filled) else ""


def _find_reason(name: str, attributes: Attributes, is_telegram: bool) -> str:
    """Return what to count for an element that is dropped because of its attributes, or ""."""
    if "hidden" in attributes or "display:none" in attributes.get("style", "").replace(" ", "").lower():
        return "hidden_elements"
    if attributes.get("role") in ("navigation", "doc-pagebreak") or attributes.get("epub:type") == "noteref":
        return "navigation_elements"
    if attributes.get("role") in ("banner", "contentinfo"):
        return "page_headers"
    if is_telegram:
        classes = attributes.get("class", "").split()
        if "service" in classes:
            return "notices"
        if not _TELEGRAM_DROPPED.isdisjoint(classes):
            return "chat_details"
    return ""
