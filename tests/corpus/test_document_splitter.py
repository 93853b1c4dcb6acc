"""Where documents end: size, boundaries, language; no text is lost."""

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinyedge.corpus import document_splitter
from tinyedge.corpus.document import Document
from tinyedge.corpus.document_splitter import split_documents
from tinyedge.corpus.language import detect_language

PROSE = "The old man went down to the sea. He had not been there for a year, and it was cold."
PROSA = "El viejo bajó hasta el mar. No había estado allí en todo el año, y hacía mucho frío."


def test_text_without_blank_lines_is_split_too() -> None:
    documents = list(split_documents([PROSE] * 1_000, "here"))
    assert len(documents) == 2
    assert all(
        sum(map(len, document.sentences))
        <= document_splitter.LONG_DOCUMENT_CHARS + document_splitter.MIN_DOCUMENT_CHARS
        for document in documents
    )
    assert len(list(split_documents([PROSE] * 1_000, "here", as_one_document=True))) == 1


def test_only_a_short_remainder_joins_the_previous_document() -> None:
    chapter = [PROSE] * 60
    assert [len(document.sentences) for document in split_documents([*chapter, "", *chapter], "here")] == [
        120,
        120,
    ]
    assert [len(document.sentences) for document in split_documents([*chapter, "", PROSE], "here")] == [122]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["", PROSE, PROSA * 30, "x" * 3_999, "* * *"]), max_size=40), st.booleans())
@example(
    [PROSA * 30, "", PROSE, "x" * 3_999, PROSA * 30], False
)  # the language changes, and changes back without a boundary
def test_splitting_loses_no_sentence(units: list[str], as_one_document: bool) -> None:
    documents: list[Document] = list(split_documents(units, "here", as_one_document=as_one_document))
    words = "".join("".join(document.sentences) for document in documents).replace(" ", "")
    assert words == "".join(unit for unit in units if unit != "* * *").replace(" ", "")
    for document, following in itertools.pairwise(documents):  # the last may be a short remainder
        language_changed = document.language != detect_language(read_opening(following))
        assert count_chars(document) >= document_splitter.MIN_DOCUMENT_CHARS or language_changed


def read_opening(document: Document) -> str:
    """Return the first sentences, which decide whether the language changed."""
    ends = itertools.accumulate(map(len, document.sentences))
    before = (end - len(sentence) for sentence, end in zip(document.sentences, ends, strict=True))
    limit = document_splitter.MIN_DOCUMENT_CHARS
    return "\n".join(s for s, start in zip(document.sentences, before, strict=True) if start < limit)


def count_chars(document: Document) -> int:
    return sum(map(len, document.sentences))


def test_a_change_of_language_ends_a_document() -> None:
    units = [PROSE, "", PROSA, "", PROSA, "", PROSE, "", "1914", "", PROSE]
    documents = list(split_documents(units, "here"))
    assert [document.language for document in documents] == ["en", "es", "en"]
    assert documents[2].sentences[2] == "1914"  # without a language: it stays in its place
    assert len(list(split_documents(units, "here", as_one_document=True))) == 1
    assert {document.language for document in split_documents(units, "here", language="es")} == {"es"}
