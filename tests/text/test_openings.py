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
    openings = choose_passage_openings(passages, tokenizer, 2)
    assert len(openings) == 2
    assert all(any(line.startswith(opening) for line in told) for opening in openings)
    assert choose_passage_openings(passages[:1], tokenizer, 1)[0].startswith('"')
