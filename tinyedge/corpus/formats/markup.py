"""Text of marked-up documents: what HTML, EPUB, Word and OpenDocument have in common.

In: the bytes of HTML or XML, and which elements are blocks, breaks, or not text. Out: lines, an empty one at
the boundary of a block. The documents are streamed through lxml, without a tree; external entities are never
loaded, and XML with a document type, which could define entities, is refused. Does not know files.
"""

import itertools
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

from tinyedge.core.errors import CorpusError, MissingDependencyError
from tinyedge.corpus.line_passage import CompleteLine, measure_width
from tinyedge.corpus.read_notes import ReadNotes

MIN_WRAPPED_BREAKS = 3  # a block with fewer line breaks is not taken for wrapped prose
MIN_WRAPPED_WIDTH = 50  # characters; verse is narrower
MIN_FILL = 0.85  # share of the width that a full line has, together with the next word
MIN_FULL_SHARE = 0.8  # share of full lines in wrapped prose
MIN_LOWER_SHARE = 0.5  # share of wrapped lines that begin in lower case; in verse nearly none do
_LINE_SEPARATOR = "\u2028"  # marks a line break that comes from an element, such as <br>
_SPACE = f" \t\r\f{_LINE_SEPARATOR}"

Attributes = Mapping[str, str]
Chunks = Generator[bytes, None, None]


@dataclass(frozen=True, slots=True)
class MarkupRules:
    """How the elements of a kind of document are read; names are without namespace."""

    blocks: frozenset[str]
    """Elements that are paragraphs of their own."""

    dropped: frozenset[str]
    """Elements whose text is not part of the document."""

    characters: Mapping[str, str] = field(default_factory=dict)
    """Text of elements that stand for a character; a line feed is a line break."""

    preformatted: frozenset[str] = frozenset()
    """Elements whose line breaks count."""

    text_elements: frozenset[str] = frozenset()
    """The only elements with text; empty if all elements have."""

    floating: frozenset[str] = frozenset()
    """Elements inside a paragraph that follow it: notes and text boxes."""

    counted: Mapping[str, str] = field(default_factory=dict)
    """What to count for elements of `dropped`; the others are not counted."""

    page_parts: frozenset[str] = frozenset()
    """Elements that are dropped and counted as headers, except inside one of `sections`."""

    sections: frozenset[str] = frozenset()
    """Elements that may have a header of their own, which is text."""

    checked: frozenset[str] = frozenset()
    """Blocks whose lines decide whether they are dropped."""

    check_lines: Callable[[str, list[str]], str] = lambda name, lines: ""
    """Returns what to count for a block of `checked` that is dropped because of its lines, or ""."""

    is_dropped: Callable[[str, Attributes], str] = lambda name, attributes: ""
    """Returns what to count for an element that is dropped because of its attributes, or "" to keep it."""


class MarkupReader:
    """Receives the events of lxml and collects lines."""

    def __init__(self, rules: MarkupRules, notes: ReadNotes) -> None:
        self._rules = rules
        self._notes = notes
        self._dropped_depth = 0
        self._section_depth = 0
        self._preformatted_depth = 0
        self._text_depth = 0
        self._text: list[str] = []
        self._lines: list[str] = []
        self._outer: list[tuple[list[str], list[str]]] = []  # text and lines around a floating element
        self._around: list[list[str]] = []  # lines before each open block that is checked at its end
        self._floating: list[str] = []  # lines that follow the current paragraph

    def start(self, tag: str, attributes: Attributes) -> None:
        """Start an element."""
        name = _strip_namespace(tag)
        rules = self._rules
        if self._dropped_depth:
            self._dropped_depth += 1
            return
        reason = "" if name in rules.dropped else rules.is_dropped(name, attributes)
        if name == "code" and self._preformatted_depth:
            reason = "code_blocks"
        elif name in rules.page_parts and not self._section_depth:
            reason = "page_headers"
        reason = reason or rules.counted.get(name, "")
        if reason or name in rules.dropped:
            if name in rules.blocks:
                self._end_block()
            if reason:
                self._notes.count(reason)
            self._dropped_depth = 1
            return
        if name in rules.floating:
            self._outer.append((self._text, self._lines))
            self._text, self._lines = [], []
        elif name in rules.blocks:
            self._end_block()
        if name in rules.checked:
            self._around.append(self._lines)
            self._lines = []
        if name in rules.characters:
            character = rules.characters[name]
            mark = _LINE_SEPARATOR if character == "\n" and not self._preformatted_depth else ""
            self._text.append((mark + character) * _read_repetition(attributes))
        self._section_depth += name in rules.sections
        self._preformatted_depth += name in rules.preformatted
        self._text_depth += name in rules.text_elements

    def end(self, tag: str) -> None:
        """End an element."""
        name = _strip_namespace(tag)
        if self._dropped_depth:
            self._dropped_depth -= 1
            return
        if name in self._rules.floating and self._outer:
            self._end_block()
            self._floating += self._lines
            self._text, self._lines = self._outer.pop()
        elif name in self._rules.blocks:
            self._end_block()
        if name in self._rules.checked and self._around:
            self._end_checked(self._rules.check_lines(name, self._lines))
        self._section_depth -= name in self._rules.sections
        self._preformatted_depth -= name in self._rules.preformatted
        self._text_depth -= name in self._rules.text_elements

    def data(self, text: str) -> None:
        """Add text."""
        if self._dropped_depth or (self._rules.text_elements and not self._text_depth):
            return
        # A line break in the source is white space, except in preformatted text.
        self._text.append(text if self._preformatted_depth else re.sub(r"[ \t\n\r\f]+", " ", text))

    def comment(self, text: str) -> None:
        """Skip a comment."""

    def pi(self, target: str, data: str | None = None) -> None:
        """Skip a processing instruction."""

    def close(self) -> None:
        """End the document."""
        self._end_block()
        while self._around:
            self._end_checked("")

    def take_lines(self) -> list[str]:
        """Return the lines of the blocks that ended since the last call."""
        if self._outer or self._around:
            return []
        lines, self._lines = self._lines, []
        return lines

    def _end_checked(self, reason: str) -> None:
        """End a block that was checked; a reason drops its lines."""
        if reason:
            self._notes.count(reason)
        self._lines = self._around.pop() + ([] if reason else self._lines)

    def _end_block(self) -> None:
        text, self._text = "".join(self._text), []
        lines = _split_lines(text)
        if any(lines):
            self._lines += ["", *lines, ""]
        if not self._outer:
            self._lines += self._floating
            self._floating = []


class XmlReader(MarkupReader):
    """A MarkupReader for XML that refuses a document type."""

    def doctype(self, name: str, public_id: str | None, system_id: str | None) -> None:
        """Refuse a document type."""
        raise CorpusError(
            "its XML has a document type, which could define entities", "save the document again"
        )


def read_html(chunks: Chunks, encoding: str, rules: MarkupRules, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of HTML, which may be damaged."""
    etree = import_lxml()
    reader = MarkupReader(rules, notes)
    # Unlimited in depth and length: nothing of a deep or a long page is lost, and no tree is built.
    yield from _feed(etree.HTMLParser(target=reader, encoding=encoding, huge_tree=True), reader, chunks)


def read_xml(chunks: Chunks, rules: MarkupRules, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of XML.

    Raises:
        CorpusError: The XML is damaged or has a document type.
    """
    etree = import_lxml()
    reader = XmlReader(rules, notes)
    parser = etree.XMLParser(
        target=reader, resolve_entities=False, no_network=True, load_dtd=False, huge_tree=True
    )
    try:
        yield from _feed(parser, reader, chunks)
    except etree.XMLSyntaxError as failure:
        raise CorpusError(f"its XML is damaged: {failure.msg}", "save the document again") from None


def import_lxml() -> Any:
    """Return lxml.etree.

    Raises:
        MissingDependencyError: lxml is not installed.
    """
    try:
        from lxml import etree
    except ImportError:
        raise MissingDependencyError("lxml", "documents") from None
    return etree


def _feed(parser: Any, reader: MarkupReader, chunks: Chunks) -> Iterator[str]:
    with closing(chunks):
        for chunk in itertools.chain([b""], chunks):  # a parser that was never fed cannot be closed
            parser.feed(chunk)
            yield from reader.take_lines()
    parser.close()
    yield from reader.take_lines()


def _split_lines(text: str) -> list[str]:
    """Split a block at its line breaks; those of elements end complete lines, unless they wrap prose."""
    parts = text.split("\n")
    lines = [part.strip(_SPACE) for part in parts]
    if _are_wrapped(lines):
        return lines
    return [
        CompleteLine(line) if line and part.endswith(_LINE_SEPARATOR) else line
        for part, line in zip(parts, lines, strict=True)
    ]


def _are_wrapped(lines: list[str]) -> bool:
    """Whether lines look like prose that was wrapped at a constant width."""
    pairs = [(first, second) for first, second in itertools.pairwise(lines) if first and second]
    width = measure_width([len(line) for line in lines if line]) if pairs else 0
    if len(pairs) < MIN_WRAPPED_BREAKS or width < MIN_WRAPPED_WIDTH:
        return False
    full = sum(len(first) + 1 + len(second.split()[0]) >= MIN_FILL * width for first, second in pairs)
    lower = sum(second[0].islower() for _, second in pairs)
    return full >= MIN_FULL_SHARE * len(pairs) and lower >= MIN_LOWER_SHARE * len(pairs)


def _strip_namespace(tag: str) -> str:
    return tag.rpartition("}")[2].lower() if isinstance(tag, str) else ""


def _read_repetition(attributes: Attributes) -> int:
    """Return how often an element stands for its character: `<text:s text:c="3"/>`."""
    count = next((value for name, value in attributes.items() if _strip_namespace(name) == "c"), "1")
    return min(int(count), 100) if count.isdecimal() else 1
