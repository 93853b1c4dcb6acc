"""What a corpus is built from: sources that tinyedge has, and the user's files.

In: the user's choices. Out: a checked request, and what `corpus.json` records of it. Does not read text.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinyedge.core.errors import UsageError
from tinyedge.core.files import sha256_file
from tinyedge.corpus.commands.settings import DEFAULT_SETTINGS as DEFAULT_COMMANDS
from tinyedge.corpus.commands.settings import CommandSettings
from tinyedge.corpus.find_files import InputFile, find_files
from tinyedge.corpus.pairs import choose_pair_files
from tinyedge.corpus.read_settings import ReadSettings
from tinyedge.corpus.reader import DEFAULT_SETTINGS

PHRASEBOOK = "phrasebook"
GUTENBERG = "gutenberg"
COMMANDS = "commands"
SOURCES = (PHRASEBOOK, GUTENBERG, COMMANDS)


@dataclass(frozen=True, slots=True)
class CorpusRequest:
    """The texts that a corpus is built from.

    Raises:
        UsageError: A source is unknown, there is neither a source nor an input, or there are settings for
            inputs but no input.
    """

    sources: tuple[str, ...]
    """Names from SOURCES."""

    inputs: tuple[Path, ...] = ()
    """The user's files and folders; they follow the sources."""

    seed: int = 0
    """Seed of the phrasebook."""

    reading: ReadSettings = DEFAULT_SETTINGS
    """How the inputs are read."""

    commands: CommandSettings = DEFAULT_COMMANDS
    """Templates and number of pairs of the source `commands`."""

    def __post_init__(self) -> None:
        unknown = [name for name in self.sources if name not in SOURCES]
        if unknown:
            raise UsageError(f"--source {unknown[0]} is unknown", f"known sources: {', '.join(SOURCES)}")
        if not self.sources and not self.inputs:
            raise UsageError("there is nothing to build a corpus from", "give --source or --input")
        if COMMANDS not in self.sources and self.commands != DEFAULT_COMMANDS:
            raise UsageError(
                "templates and pairs apply to home commands only",
                "give --source commands too",
                ("templates", "pairs"),
            )
        if COMMANDS in self.sources and (len(self.sources) > 1 or self.inputs):
            raise UsageError(
                "--source commands makes pairs, and stands alone",
                "train on other text first, then go on with the pairs: tinyedge train --init-from",
            )
        if not self.inputs and self.reading != DEFAULT_SETTINGS:
            raise UsageError(
                "lines, field and strict apply to your own files only",
                "give --input too",
                ("lines", "field", "strict"),
            )

    def to_json(self) -> dict[str, Any]:
        """Return the request as in `corpus.json`, with the current sha256 of every input file."""
        files = {str(file.path): _hash_input(file.path) for file in find_files(self.inputs)}
        return (
            {
                "sources": list(self.sources),
                "inputs": [str(path) for path in self.inputs],
                "seed": self.seed,
                "files": files,
            }
            | ({"lines": self.reading.lines, "field": self.reading.field} if self.inputs else {})
            | ({"pairs": True} if COMMANDS in self.sources or self.find_pairs() else {})
            | ({COMMANDS: dataclasses.asdict(self.commands)} if COMMANDS in self.sources else {})
        )

    def find_pairs(self) -> list[InputFile]:
        """Return the inputs if they hold pairs of a prompt and a completion; none if they hold text.

        A field that the user chose is read as text.

        Raises:
            CorpusError: Some hold pairs, and others text.
        """
        if self.reading.field:
            return []
        return choose_pair_files(find_files(self.inputs), has_other_text=bool(self.sources))


def _hash_input(path: Path) -> str | None:
    """Return the sha256 of a file; None if it cannot be read, which `read_documents` reports."""
    try:
        return sha256_file(path)
    except OSError:
        return None
