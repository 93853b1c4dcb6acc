"""Running text in, documents out: the shared rule of where one document ends and the next begins."""

import itertools
import re
from collections.abc import Iterable, Iterator

from tinyedge.corpus.document import UNKNOWN_LANGUAGE, Document
from tinyedge.corpus.language import guess_language
from tinyedge.corpus.sentence_splitter import split_sentences

MIN_DOCUMENT_CHARS = 4_000
MAX_DOCUMENT_CHARS = 1_000_000  # bounds memory
LONG_DOCUMENT_CHARS = (
    40_000  # a file is cut there even without blank lines, so that it gives several documents
)
SAMPLE_CHARS = 20_000  # read for the language of a document

# Soft hyphen, zero-width space, word joiner, byte-order mark, C1 controls: invisible, and noise to a model.
_INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff\x80-\x84\x86-\x9f]")

Block = tuple[list[str], bool]


def split_documents(
    units: Iterable[str], source: str, *, whole: bool = False, language: str | None = None
) -> Iterator[Document]:
    """Cuts documents from units: lines or paragraphs, still to be split; an empty one is a border.

    A document ends at the first border after MIN_DOCUMENT_CHARS, and where the language turns to another; a
    short remainder joins the document before, if they share the language. With `whole` all is one document.
    In every case a document that grows too long is cut at a sentence end.
    """
    limit = MAX_DOCUMENT_CHARS if whole else LONG_DOCUMENT_CHARS
    held: list[str] = []  # complete, but a short remainder may still join it
    growing: list[str] = []
    size = 0
    spoken = UNKNOWN_LANGUAGE  # in `growing`
    for block, bordered in _blocks(units):
        tongue = language or ("" if whole else guess_language("\n".join(block)))
        turned = bordered and not whole and UNKNOWN_LANGUAGE not in (spoken, tongue) and spoken != tongue
        if growing and (turned or (bordered and not whole and size >= MIN_DOCUMENT_CHARS) or size >= limit):
            if held:
                yield _document(held, source, language)
            held, growing, size = growing, [], 0
            if turned:
                yield _document(held, source, language)
                held = []
        spoken = tongue if turned or spoken == UNKNOWN_LANGUAGE else spoken
        growing += block
        size += sum(map(len, block))
    if held and size >= MIN_DOCUMENT_CHARS:
        yield _document(held, source, language)
        held = []
    if held or growing:
        yield _document(held + growing, source, language)


def _blocks(units: Iterable[str]) -> Iterator[Block]:
    """Sentences up to a border or to about MIN_DOCUMENT_CHARS, and whether a border stands before them."""
    block: list[str] = []
    size = 0
    bordered = True
    for unit in units:
        sentences = list(filter(_has_word, split_sentences(_INVISIBLE.sub("", unit))))
        if block and (not sentences or size >= MIN_DOCUMENT_CHARS):
            yield block, bordered
            block, size, bordered = [], 0, False
        bordered = bordered or not sentences
        block += sentences
        size += sum(map(len, sentences))
    if block:
        yield block, bordered


def _document(sentences: list[str], source: str, language: str | None) -> Document:
    ends = itertools.accumulate(map(len, sentences))
    sample = "\n".join(s for s, end in zip(sentences, ends, strict=True) if end - len(s) < SAMPLE_CHARS)
    return Document(tuple(sentences), language or guess_language(sample), source)


def _has_word(sentence: str) -> bool:
    return any(character.isalnum() for character in sentence)
