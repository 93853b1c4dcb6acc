"""Tables for the terminal."""

import sys
from collections.abc import Collection, Sequence

from tinyedge.cli._echo import terminal_width
from tinyedge.core.columns import cell_width, cut_middle
from tinyedge.core.printable import printable

MAX_NAME_SHARE = 0.5  # of a terminal's width, for the first column


def print_table(rows: Sequence[Sequence[str]], left: Collection[int]) -> None:
    """Print `format_columns` on stdout, at the width of the terminal there."""
    print(format_columns(rows, left, terminal_width(sys.stdout)))


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
