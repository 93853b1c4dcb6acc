"""Tables for the terminal."""

import sys
from collections.abc import Collection, Sequence

from tinyedge.cli._echo import terminal_width
from tinyedge.core.columns import format_columns


def print_table(rows: Sequence[Sequence[str]], left: Collection[int]) -> None:
    """Print `format_columns` on stdout, at the width of the terminal there."""
    print(format_columns(rows, left, terminal_width(sys.stdout)))
