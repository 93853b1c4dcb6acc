"""Running text in, documents out: the shared rule of where one document ends and the next begins."""

import itertools
import re
from collections.abc import Iterable, Iterator

from tinyedge.corpus.document import UNKNOWN_LANGUAGE, Document
from tinyedge.corpus.language import detect_language
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
    units: Iterable[str], source: str, *, as_one_document: bool = False, language: str | None = None
) -> Iterator[Document]:
    """Cuts documents from units: lines or paragraphs, still to be split; an empty one is a border.

    A document ends at the first border after MIN_DOCUMENT_CHARS, and where the language turns to another; a
    short remainder joins the document before, if they share the language. With `whole` all is one document.
    In every case a document that grows too long is cut at a sentence end.
    """
    limit = MAX_DOCUMENT_CHARS if as_one_document else LONG_DOCUMENT_CHARS
    pending: list[str] = []  # complete, but a short remainder may still join it
    current: list[str] = []
    size = 0
    current_language = UNKNOWN_LANGUAGE  # in `growing`
    for block, follows_boundary in _split_blocks(units):
        block_language = language or ("" if as_one_document else detect_language("\n".join(block)))
        language_changed = (
            follows_boundary
            and not as_one_document
            and UNKNOWN_LANGUAGE not in (current_language, block_language)
            and current_language != block_language
        )
        if current and (
            language_changed
            or (follows_boundary and not as_one_document and size >= MIN_DOCUMENT_CHARS)
            or size >= limit
        ):
            if pending:
                yield _make_document(pending, source, language)
            pending, current, size = current, [], 0
            if language_changed:
                yield _make_document(pending, source, language)
                pending = []
        current_language = (
            block_language if language_changed or current_language == UNKNOWN_LANGUAGE else current_language
        )
        current += block
        size += sum(map(len, block))
    if pending and size >= MIN_DOCUMENT_CHARS:
        yield _make_document(pending, source, language)
        pending = []
    if pending or current:
        yield _make_document(pending + current, source, language)


def _split_blocks(units: Iterable[str]) -> Iterator[Block]:
    """Sentences up to a border or to about MIN_DOCUMENT_CHARS, and whether a border stands before them."""
    block: list[str] = []
    size = 0
    follows_boundary = True
    for unit in units:
        sentences = list(filter(_has_word, split_sentences(_INVISIBLE.sub("", unit))))
        if block and (not sentences or size >= MIN_DOCUMENT_CHARS):
            yield block, follows_boundary
            block, size, follows_boundary = [], 0, False
        follows_boundary = follows_boundary or not sentences
        block += sentences
        size += sum(map(len, sentences))
    if block:
        yield block, follows_boundary


def _make_document(sentences: list[str], source: str, language: str | None) -> Document:
    ends = itertools.accumulate(map(len, sentences))
    sample = "\n".join(s for s, end in zip(sentences, ends, strict=True) if end - len(s) < SAMPLE_CHARS)
    return Document(tuple(sentences), language or detect_language(sample), source)


def _has_word(sentence: str) -> bool:
    return any(character.isalnum() for character in sentence)
