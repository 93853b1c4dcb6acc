"""The rules of the splitter by example, and its two guarantees on random text."""

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tinyedge.corpus.sentence_splitter import MAX_SENTENCE_CHARS, split_sentences

SPLITS = [
    ("One. Two! Three? Four… Five.", ["One.", "Two!", "Three?", "Four…", "Five."]),
    ("¿Qué hora es? ¡No lo sé! Son las dos.", ["¿Qué hora es?", "¡No lo sé!", "Son las dos."]),
    ("“Go away.” He went. ‘Now?’ “Yes.”", ["“Go away.”", "He went.", "‘Now?’", "“Yes.”"]),
    ("«Vete.» Se fue. (No volvió.) Fin.", ["«Vete.»", "Se fue.", "(No volvió.)", "Fin."]),
    ("—¿Vienes? —No. —Adiós.", ["—¿Vienes?", "—No.", "—Adiós."]),
    ("—Sí.—Y calló.", ["—Sí.", "—Y calló."]),
    ("It was he. I saw 3 of them. 40 came.", ["It was he.", "I saw 3 of them.", "40 came."]),
    ("He said no. Then he left.", ["He said no.", "Then he left."]),
    ("It was I. You knew.", ["It was I.", "You knew."]),
    ("They came at 5 p.m. She was late.", ["They came at 5 p.m.", "She was late."]),
    ("He was born in 1815. He died.", ["He was born in 1815.", "He died."]),
    ("他去了学校。真的吗？！是的！", ["他去了学校。", "真的吗？！", "是的！"]),
    ("他说：“好。”然后他走了。", ["他说：“好。”", "然后他走了。"]),
    (
        "「行きますか？」「はい。」彼は行った｡そう。",
        ["「行きますか？」", "「はい。」", "彼は行った｡", "そう。"],
    ),
    ("ذهب الولد. هل عاد؟ نعم، عاد.", ["ذهب الولد.", "هل عاد؟", "نعم، عاد."]),
    ("یہ کتاب ہے۔ وہ گیا۔", ["یہ کتاب ہے۔", "وہ گیا۔"]),
    ("He waited.... 3 came.", ["He waited....", "3 came."]),
    ("The end.... Then 3 came.", ["The end....", "Then 3 came."]),
    ("He waited... 3 came.", ["He waited...", "3 came."]),
    ("यह एक किताब है। क्या? हाँ॥ वह गया।", ["यह एक किताब है।", "क्या?", "हाँ॥", "वह गया।"]),
]
UNSPLIT = [
    "Mr. and Mrs. Smith met Messrs. Brown, Dr. Jones and St. John.",
    "El Sr. Pérez, la Sra. Ruiz, D. Juan y Dña. Ana llegaron.",
    "See No. 5, vol. 3, cap. IV and pág. 12 of the book.",
    "J. R. Smith and A.B. Jones live in the U.S. Army barracks.",
    "Hay muchos, p. ej. Madrid, y p.ej. Sevilla.",
    "Vive en EE. UU. desde mayo.",
    "It costs 3.50 or 1,000.25 today.",
    "Wait... for me… please.",
    "“Stop!” said he, and “Why?” asked she.",
    "—¡Hola! —dijo ella.",
    "Wait . . . and see.",
    "1. The first of a list.",
    "Intro ........ 3",
    "Intro.... 12",
    "Intro.... 12 The Sea .... 13",
    "The Sea . . . . . . . 112",
    "The Sea . . . . XIV",
    "“Well,” he said—“Well?”",
    "「はい。」と彼は言った。",
    "圆周率是3．14左右。",
    "He said “好。” and left.",
]


@pytest.mark.parametrize(("text", "sentences"), SPLITS)
def test_text_is_split_into_sentences(text: str, sentences: list[str]) -> None:
    assert split_sentences(text) == sentences


@pytest.mark.parametrize("text", UNSPLIT)
def test_a_single_sentence_is_not_split(text: str) -> None:
    assert split_sentences(text) == [text]


def test_white_space_is_collapsed_and_text_composed() -> None:
    assert split_sentences("  Un cafe\u0301\t\nsolo.\u00a0 Ya.  ") == ["Un café solo.", "Ya."]
    assert split_sentences(" \n\t ") == []


def test_a_very_long_sentence_is_cut_at_white_space() -> None:
    words = "palabra " * 1_000
    pieces = split_sentences(words)
    assert len(pieces) > 3
    assert all(len(piece) <= MAX_SENTENCE_CHARS and piece.endswith("palabra") for piece in pieces)
    assert [len(piece) for piece in split_sentences("x" * 4_500)] == [2_000, 2_000, 500]


def test_text_after_a_cut_is_split_again() -> None:
    assert split_sentences("(" * 1_999 + "Mr. Then") == ["(" * 1_999 + "M", "r.", "Then"]


PARTS = """
    Mr. Sra. no. No. p. ej. EE. UU. I. J. 1. 12 IV Then luego — ¿ “ ” " ... … ! ? . - ) ( e\u0301 <long>
    。 ！ ． ？」 ؟ । と ，
"""
PART = st.one_of(
    st.sampled_from([part.replace("<long>", "x" * 2_100) for part in PARTS.split()]), st.text(max_size=4)
)
PROSE = st.builds(str.join, st.sampled_from(["", " ", "\n", "\u00a0"]), st.lists(PART, max_size=30))


@settings(max_examples=300, deadline=None)
@given(PROSE)
def test_splitting_drops_nothing_and_is_stable(text: str) -> None:
    sentences = split_sentences(text)
    joined = "".join(sentences).replace(" ", "")
    assert joined == "".join(unicodedata.normalize("NFC", text).split())
    for sentence in sentences:
        assert 0 < len(sentence) <= MAX_SENTENCE_CHARS
        assert sentence == " ".join(sentence.split()) == unicodedata.normalize("NFC", sentence)
        assert split_sentences(sentence) == [sentence]


def test_a_million_stops_take_linear_time() -> None:
    """A quadratic search over a million dots would not end in a reasonable time."""
    assert sum(map(len, split_sentences("." * 1_000_000))) == 1_000_000
    assert split_sentences("." * 20_000 + "a. Hello there.")[-1] == "Hello there."
