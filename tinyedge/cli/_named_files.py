"""The option `--text NAME=FILE`, shared by several commands."""

from collections.abc import Iterable
from pathlib import Path

from tinyedge.bench.limits import normalize_name
from tinyedge.core.errors import UsageError

MAX_NAME_LENGTH = 64  # characters; the name is the heading of a column


def parse_named_files(values: Iterable[str]) -> dict[str, Path]:
    """Return the files by name (in Unicode's form NFC), in the order given.

    Raises:
        UsageError: A value is not NAME=FILE, or a name is given twice.
    """
    files: dict[str, Path] = {}
    for item in values:
        name, _, file = item.partition("=")
        name = normalize_name(name)
        if not (name and file):
            raise UsageError(f"--text {item} is not NAME=FILE", "for example --text en=novel.txt")
        if not name.isprintable() or len(name) > MAX_NAME_LENGTH:
            raise UsageError(
                f"--text {name[:MAX_NAME_LENGTH]!r} is not a valid name for a text",
                f"use up to {MAX_NAME_LENGTH} printable characters, for example --text en=novel.txt",
            )
        if name in files:
            raise UsageError(f"--text {name} is given twice", "give one file per name")
        files[name] = Path(file)
    return files
