"""Split running text into documents. All sources share this rule.

In: lines or paragraphs. Out: documents of sentences. Does not know files.
"""

import itertools
from collections.abc import Iterable, Iterator

from tinyedge.corpus.document import UNKNOWN_LANGUAGE, Document
from tinyedge.corpus.language import detect_language
from tinyedge.corpus.read_notes import ReadNotes
from tinyedge.corpus.sentence_splitter import split_sentences

MIN_DOCUMENT_CHARS = 4_000
MAX_DOCUMENT_CHARS = 1_000_000  # limits memory
# A text without blank lines is cut at this length too, so that it becomes several documents.
LONG_DOCUMENT_CHARS = 40_000
SAMPLE_CHARS = 20_000  # used to detect the language of a document

Block = tuple[list[str], bool]


def split_documents(
    units: Iterable[str],
    source: str,
    *,
    as_one_document: bool = False,
    language: str | None = None,
    notes: ReadNotes | None = None,
) -> Iterator[Document]:
    """Split a text into sentences and group them into documents.

    A document ends at the first boundary after MIN_DOCUMENT_CHARS, and at a boundary where the language
    changes. A short remainder joins the previous document if both have the same language. A document that
    becomes too long is cut at the end of a sentence.

    Args:
        units: Lines or paragraphs; an empty one is a boundary.
        source: Source of the documents.
        as_one_document: Keep the text in one document unless it exceeds MAX_DOCUMENT_CHARS.
        language: Language of the text; detected if None.
        notes: Receives how many sentences were dropped because they contain no word.
    """
    limit = MAX_DOCUMENT_CHARS if as_one_document else LONG_DOCUMENT_CHARS
    pending: list[str] = []  # complete, but a short remainder may still join it
    current: list[str] = []
    size = 0
    current_language = UNKNOWN_LANGUAGE  # of `current`
    for block, follows_boundary in _split_blocks(units, notes):
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


def _split_blocks(units: Iterable[str], notes: ReadNotes | None) -> Iterator[Block]:
    """Yield blocks of sentences, and whether a boundary precedes each.

    A block ends at a boundary or at about MIN_DOCUMENT_CHARS.
    """
    block: list[str] = []
    size = 0
    follows_boundary = True
    for unit in units:
        found = split_sentences(unit)
        sentences = list(filter(_has_word, found))
        if notes is not None:
            notes.count("sentences_without_words", len(found) - len(sentences))
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
