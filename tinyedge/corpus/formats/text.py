"""Plain text: its lines.

In: a `.txt` file. Out: its lines; a blank line is a boundary. Does not decide whether lines belong together.
"""

from collections.abc import Iterator
from pathlib import Path

from tinyedge.corpus.encoding import read_lines
from tinyedge.corpus.read_notes import ReadNotes


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of a text file."""
    return (line if line.strip() else "" for line in read_lines(path, notes))
