"""Checks of the files that a command is asked to write, before its work begins.

In: paths by flag. Out: nothing, or a UsageError that names the flag. Writes nothing.
"""

import json
import os
import tempfile
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path

from tinyedge.core import files
from tinyedge.core.errors import UsageError

MAX_NAME_BYTES = 255 - len(f".{files.TEMPORARY_SUFFIX}")  # a file is first written under a temporary name
MAX_SCHEMA_FILE_BYTES = 256 << 20  # a longer benchmark report does not exist; a checkpoint can be longer


def require_writable(paths_by_flag: Mapping[str, Path], inputs: Iterable[Path] = ()) -> None:
    """Raise UsageError unless all files can be written without overwriting an input or each other.

    Args:
        paths_by_flag: Files to write, by the flag that names them.
        inputs: Files that are read, and bundles, to which no file may be added.
    """
    inputs = list(inputs)
    taken: dict[Path, str] = {}
    for flag, path in paths_by_flag.items():
        for one in inputs:
            if one.resolve() in (path.resolve(), path.resolve().parent):
                raise UsageError(
                    f"{flag} {path} would change {one}, which is an input", "choose another path"
                )
        if path.resolve() in taken:
            raise UsageError(
                f"{flag} {path} is the same file as {taken[path.resolve()]}", "pass two different files"
            )
        taken[path.resolve()] = flag
        _require_file_writable(flag, path)


def require_replaceable_json(flag: str, path: Path, kinds: Collection[str]) -> None:
    """Raise UsageError if a file exists that is neither empty nor an earlier result of the same kind.

    Args:
        flag: The flag that names the file.
        path: The file to write.
        kinds: What the file's schema may be, without the version: `tinyedge.bench`.
    """
    if path.is_file() and path.stat().st_size and _read_kind(path) not in kinds:
        raise UsageError(
            f"{flag} {path} exists, and is not a result that this command wrote earlier",
            "choose a new file, or print the result with --json -",
        )


def _read_kind(path: Path) -> str | None:
    """Return the schema of a JSON object without its version; None if the file holds no such object."""
    if path.stat().st_size > MAX_SCHEMA_FILE_BYTES:
        return None
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError, OSError):
        return None
    schema = value.get("schema") if isinstance(value, dict) else None
    return schema.partition("/")[0] if isinstance(schema, str) else None


def _require_file_writable(flag: str, path: Path) -> None:
    try:
        if path.exists() and not path.is_file():
            raise UsageError(f"{flag} {path} is not a regular file", "pass a new file, or a file to replace")
        if len(os.fsencode(path.name)) > MAX_NAME_BYTES:
            raise UsageError(
                f"the name of {flag} {path} is too long", f"at most {MAX_NAME_BYTES} bytes are allowed"
            )
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as failure:
        raise UsageError(
            f"{flag} {path} cannot be written: {failure.strerror}", "pass a file in a writable folder"
        ) from None
