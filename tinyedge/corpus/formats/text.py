"""Plain text: its lines, or the messages of a chat that WhatsApp exported.

In: a text file. Out: its lines; a blank line is a boundary. Does not decide whether lines belong together.
"""

import itertools
from collections.abc import Iterator
from pathlib import Path

from tinyedge.corpus.encoding import read_lines
from tinyedge.corpus.formats import mark_boundaries
from tinyedge.corpus.formats.whatsapp import SAMPLE_LINES, is_chat, read_messages
from tinyedge.corpus.read_notes import ReadNotes


def read_paragraphs(path: Path, notes: ReadNotes) -> Iterator[str]:
    """Stream the lines of a text file."""
    lines = read_lines(path, notes)
    sample = list(itertools.islice(lines, SAMPLE_LINES))
    all_lines = itertools.chain(sample, lines)
    if is_chat(sample):
        return read_messages(all_lines, notes)
    return mark_boundaries(all_lines)
