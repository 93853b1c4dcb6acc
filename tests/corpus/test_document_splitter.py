"""Where documents end: size, borders, language; and nothing is lost."""

import itertools

from hypothesis import example, given, settings
from hypothesis import strategies as st

from tinyedge.corpus import document_splitter
from tinyedge.corpus.document import Document
from tinyedge.corpus.document_splitter import split_documents
from tinyedge.corpus.language import detect_language

PROSE = "The old man went down to the sea. He had not been there for a year, and it was cold."
PROSA = "El viejo bajó hasta el mar. No había estado allí en todo el año, y hacía mucho frío."


def test_text_without_blank_lines_is_cut_too() -> None:
    documents = list(split_documents([PROSE] * 1_000, "here"))
    assert len(documents) == 2
    assert all(
        sum(map(len, document.sentences))
        <= document_splitter.LONG_DOCUMENT_CHARS + document_splitter.MIN_DOCUMENT_CHARS
        for document in documents
    )
    assert len(list(split_documents([PROSE] * 1_000, "here", as_one_document=True))) == 1


def test_a_remainder_joins_only_if_it_is_short() -> None:
    chapter = [PROSE] * 60
    assert [len(document.sentences) for document in split_documents([*chapter, "", *chapter], "here")] == [
        120,
        120,
    ]
    assert [len(document.sentences) for document in split_documents([*chapter, "", PROSE], "here")] == [122]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.sampled_from(["", PROSE, PROSA * 30, "x" * 3_999, "* * *"]), max_size=40), st.booleans())
@example([PROSA * 30, "", PROSE, "x" * 3_999, PROSA * 30], False)  # turns, and without a border back again
def test_cutting_loses_no_sentence(units: list[str], as_one_document: bool) -> None:
    documents: list[Document] = list(split_documents(units, "here", as_one_document=as_one_document))
    words = "".join("".join(document.sentences) for document in documents).replace(" ", "")
    assert words == "".join(unit for unit in units if unit != "* * *").replace(" ", "")
    for document, following in itertools.pairwise(documents):  # the last may be a short remainder
        turned = document.language != detect_language(opening(following))
        assert size_of(document) >= document_splitter.MIN_DOCUMENT_CHARS or turned


def opening(document: Document) -> str:
    """Its first sentences, as many as decide whether the language turned."""
    ends = itertools.accumulate(map(len, document.sentences))
    before = (end - len(sentence) for sentence, end in zip(document.sentences, ends, strict=True))
    limit = document_splitter.MIN_DOCUMENT_CHARS
    return "\n".join(s for s, start in zip(document.sentences, before, strict=True) if start < limit)


def size_of(document: Document) -> int:
    return sum(map(len, document.sentences))


def test_a_turn_of_the_language_ends_a_document() -> None:
    units = [PROSE, "", PROSA, "", PROSA, "", PROSE, "", "1914", "", PROSE]
    documents = list(split_documents(units, "here"))
    assert [document.language for document in documents] == ["en", "es", "en"]
    assert documents[2].sentences[2] == "1914"  # of no language: it stays where it stands
    assert len(list(split_documents(units, "here", as_one_document=True))) == 1
    assert {document.language for document in split_documents(units, "here", language="es")} == {"es"}
