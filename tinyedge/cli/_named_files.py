"""The flag `--text NAME=FILE`, which several commands share."""

from collections.abc import Iterable
from pathlib import Path

from tinyedge.core.errors import UsageError

LONGEST_NAME = 64  # characters; it heads a column


def named_files(flags: Iterable[str]) -> dict[str, Path]:
    """Files by name, in the order given. Raises UsageError for any other form, or a name given twice."""
    files: dict[str, Path] = {}
    for item in flags:
        name, _, file = item.partition("=")
        if not (name and file):
            raise UsageError(f"--text {item} is not NAME=FILE", "for example --text en=novel.txt")
        if not name.isprintable() or len(name) > LONGEST_NAME:
            raise UsageError(
                f"--text {name[:LONGEST_NAME]!r} is no name for a text",
                f"up to {LONGEST_NAME} printable characters, for example --text en=novel.txt",
            )
        if name in files:
            raise UsageError(f"--text {name} is given twice", "one file a name")
        files[name] = Path(file)
    return files
