"""Options of the form `--text NAME=FILE`, shared by several commands."""

from collections.abc import Iterable
from pathlib import Path

from tinyedge.bench.limits import normalize_name
from tinyedge.core.errors import UsageError

MAX_NAME_LENGTH = 64  # characters; the name is the heading of a column


def parse_named_files(values: Iterable[str], option: str = "--text") -> dict[str, Path]:
    """Return the files by name (in Unicode's form NFC), in the order given.

    Args:
        values: Values of the option.
        option: Name of the option, for errors.

    Raises:
        UsageError: A value is not NAME=FILE, or a name is given twice.
    """
    files: dict[str, Path] = {}
    for item in values:
        name, _, file = item.partition("=")
        name = normalize_name(name)
        if not (name and file):
            raise UsageError(f"{option} {item} is not NAME=FILE", f"for example {option} en=FILE")
        if not name.isprintable() or len(name) > MAX_NAME_LENGTH:
            raise UsageError(
                f"{option} {name[:MAX_NAME_LENGTH]!r} is not a valid name for a text",
                f"use up to {MAX_NAME_LENGTH} printable characters, for example {option} en=FILE",
            )
        if name in files:
            raise UsageError(f"{option} {name} is given twice", "give one file per name")
        files[name] = Path(file)
    return files
