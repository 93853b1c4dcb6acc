"""Text in the columns of a terminal: its width, lines broken between words, and shortened text.

In: printable text and a width in columns. Out: lines. Does not know where they are printed.
"""

import re
import unicodedata
from collections.abc import Collection, Sequence

from tinyedge.core.printable import printable

ELLIPSIS = "…"
MAX_HANG = 0.5  # of a line: where its continuation starts at most
MAX_NAME_SHARE = 0.5  # of a narrow terminal, for the first column of a table


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
        text: One line; its leading spaces, and wider gaps between its words, are kept.
        width: Columns.
        indent: Additional leading spaces of the second and later lines. A line such as `name   value`
            continues below the value.

    Returns:
        The lines; the text itself if it fits.
    """
    if cell_width(text) <= width:
        return [text]
    margin = " " * (len(text) - len(text.lstrip(" ")) + indent)
    for gap in re.finditer(r"\S {2,}(?=\S)", text):
        if gap.end() <= width * MAX_HANG:
            margin = " " * cell_width(text[: gap.end()])
    lines, line = [], ""
    for word in re.findall(r" *[^ ]+", text):
        if line.strip() and cell_width(line) + cell_width(word) > width:
            lines.append(line)
            line = margin + word.lstrip(" ")
        else:
            line += word
    return [*lines, line]


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


def format_columns(rows: Sequence[Sequence[str]], left: Collection[int], width: int | None = None) -> str:
    """Return rows of equal length as columns.

    Args:
        rows: The rows; the first one is the head.
        left: Numbers of the columns that are left-aligned.
        width: Columns of the terminal; None for any. Columns of the table that do not fit follow in further
            parts, each with the first column again. A name in the first column that is longer than half of
            the width loses its middle.
    """
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(cell_width, column)) for column in zip(*rows, strict=True)]
    if width is not None and sum(widths) + 2 * (len(widths) - 1) > width:
        limit = int(MAX_NAME_SHARE * width)
        rows = [[cut_middle(row[0], limit), *row[1:]] for row in rows]
        widths[0] = min(widths[0], limit)
    parts = [_format_part(rows, widths, part, left) for part in _split_columns(widths, width)]
    return "\n\n".join(parts)


def _split_columns(widths: Sequence[int], width: int | None) -> list[list[int]]:
    """Return the numbers of the columns in each part of a table."""
    parts = [[0]]
    for index in range(1, len(widths)):
        used = sum(widths[each] + 2 for each in parts[-1])
        if width is not None and used + widths[index] > width and len(parts[-1]) > 1:
            parts.append([0])
        parts[-1].append(index)
    return parts


def _format_part(
    rows: Sequence[Sequence[str]], widths: Sequence[int], columns: Sequence[int], left: Collection[int]
) -> str:
    lines = ("  ".join(_align(row[index], widths[index], index in left) for index in columns) for row in rows)
    return "\n".join(line.rstrip() for line in lines)


def _align(cell: str, width: int, is_left: bool) -> str:
    padding = " " * (width - cell_width(cell))
    return cell + padding if is_left else padding + cell
