"""Parts of a document that is a ZIP archive: EPUB, Word, OpenDocument.

In: a file, and names of its parts. Out: the bytes of a part, in chunks. Sizes are checked before anything is
unpacked, so that a small file cannot fill memory or disk. Does not know what the parts mean.
"""

import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.encoding import CHUNK_BYTES
from tinyedge.corpus.formats.markup import Chunks

MAX_PART_BYTES = 1 << 28  # unpacked; the text of a long novel has some 2 MB
MAX_SMALL_PART_BYTES = 1 << 24  # of a part that is read as a whole
MAX_TOTAL_BYTES = 1 << 30  # of all parts that are read
MAX_RATIO = 200  # unpacked size divided by packed size; about 20 for XML
MIN_RATIO_BYTES = 1 << 24  # unpacked; the ratio of a smaller part is not checked


class Archive:
    """An open archive."""

    def __init__(self, path: Path, archive: zipfile.ZipFile) -> None:
        self._path = path
        self._archive = archive
        self._total = 0

    def __contains__(self, name: str) -> bool:
        return name in self._archive.NameToInfo

    def read(self, name: str) -> bytes:
        """Return the bytes of a small part, with the errors of `stream`."""
        return b"".join(self.stream(name, MAX_SMALL_PART_BYTES))

    def stream(self, name: str, limit: int = MAX_PART_BYTES) -> Chunks:
        """Stream the bytes of a part.

        Raises:
            CorpusError: The part is missing, encrypted, too large or damaged.
        """
        info = self._archive.NameToInfo.get(name)
        if info is None:
            raise CorpusError(f"{self._path} has no {name}", "save the document again")
        if info.flag_bits & 1:
            raise CorpusError(f"{self._path} is encrypted", "save it without a password")
        self._total += info.file_size
        is_bomb = info.file_size > MIN_RATIO_BYTES and info.file_size > MAX_RATIO * info.compress_size
        if info.file_size > limit or self._total > MAX_TOTAL_BYTES or is_bomb:
            size = f"{info.file_size / 1e6:,.0f} MB"
            raise CorpusError(f"{self._path} is too large: {name} unpacks to {size}", "split the document")
        try:
            with self._archive.open(info) as part:
                while chunk := part.read(CHUNK_BYTES):
                    yield chunk
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as failure:
            raise CorpusError(
                f"{self._path} is damaged: {name}: {failure}", "save or copy it again"
            ) from None


@contextmanager
def open_archive(path: Path) -> Iterator[Archive]:
    """Open a document.

    Raises:
        CorpusError: The file is not a ZIP archive, or is damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            yield Archive(path, archive)
    except (zipfile.BadZipFile, NotImplementedError) as failure:
        raise CorpusError(
            f"{path} is not a valid {path.suffix} file: {failure}", "save or copy it again"
        ) from None
    except OSError as failure:
        raise CorpusError(f"{path} cannot be read: {failure.strerror}", "check its permissions") from None


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Add the name of the file to errors that do not contain it."""
    try:
        yield
    except CorpusError as failure:
        if str(path) in failure.message:
            raise
        raise CorpusError(f"{path}: {failure.message}", failure.hint) from None
