"""Text in the columns of a terminal: its width, lines broken between words, and shortened text.

In: printable text and a width in columns. Out: lines. Does not know where they are printed.
"""

import unicodedata
from collections.abc import Sequence

ELLIPSIS = "…"


def cell_width(text: str) -> int:
    """Return how many columns a terminal needs for a text: 2 for a wide character, 0 for a combining one."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in ("W", "F") else 1


def wrap_words(text: str, width: int, indent: int = 2) -> list[str]:
    """Break a line between words. A word that is longer than a line, such as a path, stays whole.

    Args:
        text: One line; its leading spaces are kept.
        width: Columns.
        indent: Additional leading spaces of the second and later lines.

    Returns:
        The lines; the text itself if it fits.
    """
    if cell_width(text) <= width:
        return [text]
    margin = " " * (len(text) - len(text.lstrip(" ")))
    return fill_lines(text.split(), width, margin, margin + " " * indent)


def fill_lines(words: Sequence[str], width: int, first: str = "", rest: str = "") -> list[str]:
    """Fill lines with words, one space between them.

    Args:
        words: Words that stay whole.
        width: Columns.
        first: Start of the first line.
        rest: Start of the other lines.
    """
    lines, line, is_empty = [], first, True
    for word in words:
        if not is_empty and cell_width(line) + 1 + cell_width(word) > width:
            lines.append(line)
            line, is_empty = rest, True
        line += word if is_empty else f" {word}"
        is_empty = False
    return [*lines, line]


def cut_words(text: str, width: int) -> str:
    """Return the words of a text that fit, and an ellipsis if words are missing."""
    if cell_width(text) <= width:
        return text
    kept = cut_cells(text, width - 1)  # one column more than is shown: it may be the space after a word
    if not kept.endswith(" "):
        kept = kept[: kept.rfind(" ") + 1] if " " in kept.strip() else cut_cells(kept, width - 2)
    return f"{kept.rstrip(' ')} {ELLIPSIS}"


def cut_cells(text: str, width: int) -> str:
    """Return the start of a text that fits, without an ellipsis."""
    while cell_width(text) > width:
        text = text[:-1]
    return text


def cut_middle(text: str, width: int) -> str:
    """Return a name with an ellipsis in place of its middle, if it is longer than `width`."""
    if cell_width(text) <= width:
        return text
    end = (width - 1) // 2
    start = cut_cells(text, width - 1 - end)
    while cell_width(text) > end:
        text = text[1:]
    return f"{start}{ELLIPSIS}{text}"
