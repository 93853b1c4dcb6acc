"""What happened to a file while it was read: encoding, changes, and everything that was left out.

In: counts from the modules that read a file. Out: the file's entry in `corpus.json` and in the summary that
`corpus` prints. Does not know formats.
"""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

# What is counted, with its words in the summary. A format adds its own lines here.
COUNTED = {
    "lines_joined": "wrapped lines joined",
    "lines_kept": "lines kept as they are",
    "control_characters": "control characters read as spaces",
    "invisible_characters": "invisible characters dropped",
}


@dataclass(slots=True)
class ReadNotes:
    """Record of one file, filled while the file is read."""

    path: Path
    """The file."""

    encoding: str = ""
    """Encoding that its bytes were read with; empty for a format that is not text."""

    counts: Counter[str] = field(default_factory=Counter)
    """How often each key of COUNTED happened."""

    def count(self, what: str, number: int = 1) -> None:
        """Add to a count; `what` is a key of COUNTED."""
        if what not in COUNTED:
            raise KeyError(what)
        if number:
            self.counts[what] += number
