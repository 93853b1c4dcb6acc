"""Find the files to read in files and folders.

In: paths as the user gave them. Out: the files in a supported format. Does not open files.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.core.files import require_file
from tinyedge.core.walk import walk_files
from tinyedge.corpus.formats import describe_formats, find_format, get_format
from tinyedge.corpus.own_files import OwnFiles
from tinyedge.corpus.read_notes import ReadLog, describe_other_files


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read."""

    path: Path
    """Path of the file."""

    is_explicit: bool
    """Whether the user gave the file itself, not a folder that contains it."""


def find_files(paths: Sequence[Path], log: ReadLog | None = None) -> list[InputFile]:
    """List the files at some paths: the files themselves, and the files in folders.

    Folders are searched recursively and sorted, without hidden files and files that tinyedge wrote, such as
    the corpus of an earlier run. Symbolic links to folders inside a folder are not followed, so that a loop
    cannot block the search.

    Args:
        paths: Files and folders.
        log: Receives what was left out: folders that cannot be read, the number of files that tinyedge wrote,
            and the number of files that have no supported format, by file name extension.

    Raises:
        CorpusError: A path does not exist, cannot be read, or contains no file in a supported format.
    """
    log = ReadLog() if log is None else log
    files: list[InputFile] = []
    for path in paths:
        try:
            files += _expand_path(path, log)
        except OSError as failure:
            raise CorpusError(f"{path} cannot be read: {failure.strerror}", "check its permissions") from None
    return files


def _expand_path(path: Path, log: ReadLog) -> list[InputFile]:
    if path.is_dir():
        others: Counter[str] = Counter()
        found = [InputFile(file, is_explicit=False) for file in _walk_folder(path, log, others)]
        if not found:
            listed = f" (there are {describe_other_files(others)})" if others else ""
            listed += " besides what tinyedge wrote" if log.own_files else ""
            raise CorpusError(f"{path} contains no file in a supported format{listed}", describe_formats())
        log.other_files.update(others)
        return found
    if not path.is_file():
        require_file(path, CorpusError)
    get_format(path)
    return [InputFile(path, is_explicit=True)]


def _walk_folder(folder: Path, log: ReadLog, others: Counter[str]) -> Iterator[Path]:
    def skip(failure: OSError) -> None:
        if Path(failure.filename) == folder:
            raise failure
        reason = f"{failure.filename} cannot be read: {failure.strerror}"
        log.skip(Path(failure.filename), CorpusError(reason, "check its permissions"))

    own_files = OwnFiles(folder)
    for path in walk_files(folder, skip, is_entered=lambda name: not name.startswith(".")):
        if path.name.startswith("."):
            continue
        if own_files.contains(path):
            log.own_files += 1
        elif find_format(path) is None:
            others[path.suffix.lower()] += 1
        elif path.is_file():
            yield path
        else:
            log.skip(path, CorpusError(f"{path} is not a regular file"))
