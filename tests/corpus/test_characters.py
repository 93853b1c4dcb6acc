"""Control and invisible characters: what becomes of them, and that they are counted."""

from pathlib import Path

import pytest

from tinyedge.corpus.characters import clean_characters
from tinyedge.corpus.read_notes import ReadNotes


@pytest.mark.parametrize(
    ("text", "clean", "what", "number"),
    [
        ("The end.\x1a", "The end. ", "control_characters", 1),
        ("one\x0btwo\x08\x00\x7fthree", "one two   three", "control_characters", 4),
        ("N\bNA\bAM\bME\bE", "NAME", "control_characters", 4),
        ("_\bo_\bf", "of", "control_characters", 2),
        ("\x1b[1;31mred\x1b[0m \x1b]0;title\x07word", "red word", "control_characters", 3),
        ("don\x92t \x93go\x94\x85 \x8d", "don’t “go”…  ", "c1_characters", 5),
        ("don\udc92t", "don’t", "invalid_bytes", 1),
        ("half \ud83d of it", "half  of it", "half_characters", 1),
        ("So\u00adft\u200b and\ufeff \u202aplain\u200e.", "Soft and plain.", "invisible_characters", 5),
    ],
)
def test_unusual_characters_are_replaced_and_counted(text: str, clean: str, what: str, number: int) -> None:
    notes = ReadNotes(Path("text"))
    assert clean_characters(text, notes) == clean
    assert notes.counts == {what: number}


@pytest.mark.parametrize(
    "text", ["plain\ttext", "می\u200cخواهم", "👩\u200d👧", "soft\u00ad", "soft\u00ad  ", "naïve"]
)
def test_characters_with_a_meaning_stay(text: str) -> None:
    notes = ReadNotes(Path("text"))
    assert clean_characters(text, notes) == text
    assert not notes.counts


def test_an_unknown_count_is_an_error() -> None:
    with pytest.raises(KeyError):
        ReadNotes(Path("text")).count("other")
