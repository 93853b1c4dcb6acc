"""Tables for the terminal."""

from collections.abc import Collection, Sequence

from tinyedge.core.printable import printable


def format_columns(rows: Sequence[Sequence[str]], left: Collection[int]) -> str:
    """Return rows of equal length as columns; those numbered in `left` are left-aligned."""
    rows = [[printable(cell) for cell in row] for row in rows]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = (
        "  ".join(
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )
    return "\n".join(line.rstrip() for line in lines)
