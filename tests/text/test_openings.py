"""Openings: first words in any script, spread over the text, never with an unknown character."""

from pathlib import Path

import pytest

from tinyedge.text.evaluate import tokenize_document
from tinyedge.text.openings import choose_openings, choose_passage_openings, cut_opening
from tinyedge.text.tokenizer import Tokenizer


@pytest.mark.parametrize(
    ("line", "opening"),
    [
        ("The old keeper counted the ships.", "The old keeper"),
        ("Es regnete gestern", "Es"),
        ("Rain tomorrow", "Rain"),
        ("吾輩は猫である。名前はまだ無い。", "吾輩は猫"),
        ("नमस्ते", "नमस्"),  # four code points would end before the virama
        ("Yes", "Y"),
        ("a", ""),
        ("", ""),
        ("吾輩は猫である" * 10 + " 名前はまだ無い " * 3, "吾輩は猫"),
    ],
)
def test_the_first_words_of_a_line(line: str, opening: str) -> None:
    assert cut_opening(line) == opening


def test_openings_are_spread_over_the_text_and_differ() -> None:
    lines = ["CHAPTER I", *(f"Keeper number {n} counted the ships that came home." for n in range(80))]
    openings = choose_openings(lines, 8)
    assert len(set(openings)) == 8
    assert openings == choose_openings(lines, 8)
    assert not any(opening.startswith("CHAPTER") for opening in openings)
    assert {len(opening.split()) for opening in openings} == {1, 2, 3}


def test_short_lines_are_used_where_there_are_no_others() -> None:
    assert choose_openings(["Rain tomorrow", "Sun today", "\ufffd too"], 8) == ["Rain", "Sun"]
    assert choose_openings([], 8) == []


def test_passages_give_openings_of_lines_that_begin_with_a_letter(micro_bundle: Path) -> None:
    tokenizer = Tokenizer((micro_bundle / "tokenizer.model").read_bytes())
    spoken = [f'"the old man {n} went home," she said.' for n in "abcd"]
    told = ["the sea was calm that day.", "a ship came in at noon today."]
    passages = [tokenize_document(lines, tokenizer) for lines in (spoken, told)]
    openings = choose_passage_openings(passages, tokenizer, 2, "en")
    assert len(openings) == 2
    assert all(any(line.startswith(opening) for line in told) for opening in openings)
    assert choose_passage_openings(passages[:1], tokenizer, 1, "en")[0].startswith('"')


ENGLISH = "the ship was in the harbour when they came back."
SPANISH = "no encuentro la llave y ella tampoco sabe dónde está."
UNCLEAR = "tinyedge 0.1.0 released today worldwide."


@pytest.mark.parametrize(
    ("lines", "language", "expected"),
    [
        ([SPANISH, UNCLEAR, ENGLISH], "en", {"the"}),
        ([ENGLISH, UNCLEAR, SPANISH], "es", {"no"}),
        ([SPANISH, UNCLEAR], "en", {"tinyedge"}),
        ([SPANISH], "en", set()),
        ([SPANISH, ENGLISH], "und", {"no", "the"}),  # a text of any language
    ],
)
def test_an_opening_is_in_the_language_of_its_text(
    lines: list[str], language: str, expected: set[str]
) -> None:
    assert {opening.split()[0] for opening in choose_openings(lines, 8, language)} == expected


def test_an_opening_begins_with_a_letter_where_there_is_one() -> None:
    lines = [f"{mark}Es un paseo por el parque de la ciudad" for mark in ("—", '"', "¿", "")]
    assert {opening[0] for opening in choose_openings(lines, 8, "es")} == {"¿", "E"}
    assert {opening[0] for opening in choose_openings(lines[:2], 8, "es")} == {"—", '"'}
