"""Text in columns: widths, lines broken between words, shortened text."""

import pytest

from tinyedge.core.columns import cell_width, cut_middle, cut_words, wrap_words


def test_wide_and_combining_characters_have_the_width_that_a_terminal_gives_them() -> None:
    assert [cell_width(text) for text in ("abc", "niña", "nin\u0303a", "日本", "e\u200d")] == [3, 4, 4, 4, 1]


@pytest.mark.parametrize("width", range(1, 70))
def test_a_line_is_broken_between_words_only(width: int) -> None:
    text = (
        "  data: moved data/previous/2026-a-very-long-name/best_model.pt, 日本語 テキスト and the rest of it"
    )
    lines = wrap_words(text, width)
    assert " ".join(" ".join(lines).split()) == " ".join(text.split())
    assert all(cell_width(line) <= width or len(line.split()) == 1 for line in lines)
    assert lines[0].startswith("  data:")


def test_a_text_that_is_cut_ends_with_an_ellipsis_after_a_word() -> None:
    assert cut_words("one two three", 13) == "one two three"
    assert cut_words("one two three", 12) == "one two …"
    assert cut_words("  one two three", 9) == "  one …"
    assert cut_words("extraordinary", 6) == "extr …"
    assert cut_words("日本語テキスト", 7) == "日本 …"


def test_a_name_loses_its_middle() -> None:
    assert cut_middle("trial-0001", 10) == "trial-0001"
    assert cut_middle("data/previous/20260101", 9) == "data/…0101"[:4] + "…0101"
    assert all(cell_width(cut_middle("日本語テキスト日本語", width)) <= width for width in range(1, 20))
