"""Find the files to read in files and folders.

In: paths as the user gave them. Out: the files in a supported format. Does not open files.
"""

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.core.files import require_file
from tinyedge.corpus.formats import describe_formats, find_format


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read."""

    path: Path
    """Path of the file."""

    is_explicit: bool
    """Whether the user gave the file itself, not a folder that contains it."""


def find_files(paths: Sequence[Path]) -> list[InputFile]:
    """List the files at some paths: the files themselves, and the files in folders.

    Folders are searched recursively and sorted, without hidden files. Symbolic links to folders inside a
    folder are not followed, so that a loop cannot block the search.

    Raises:
        CorpusError: A path does not exist, cannot be read, or contains no file in a supported format.
    """
    files: list[InputFile] = []
    for path in paths:
        try:
            files += _expand_path(path)
        except OSError as failure:
            raise CorpusError(f"{path} cannot be read: {failure.strerror}", "check its permissions") from None
    return files


def _expand_path(path: Path) -> list[InputFile]:
    if path.is_dir():
        found = [InputFile(file, is_explicit=False) for file in _walk_folder(path)]
        if not found:
            raise CorpusError(f"{path} contains no file in a supported format", describe_formats())
        return found
    require_file(path, CorpusError)
    if find_format(path) is None:
        raise CorpusError(f"{path} has an unsupported file name extension", describe_formats())
    return [InputFile(path, is_explicit=True)]


def _walk_folder(folder: Path) -> Iterator[Path]:
    def refuse(failure: OSError) -> None:
        raise CorpusError(f"{failure.filename} cannot be read: {failure.strerror}", "check its permissions")

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and find_format(path) and path.is_file():
                yield path
