"""Read the user's files: `.txt`, `.md` and `.jsonl` (field `text`), plain or gzipped.

In: paths of files and folders. Out: documents. Files are streamed; no complete file or long line is in
memory. A file that is not text is refused with its name and the byte offset. Does not download anything.
"""

import codecs
import gzip
import io
import itertools
import json
import os
import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.core.files import require_file
from tinyedge.corpus.document import Document
from tinyedge.corpus.document_splitter import split_documents

FORMATS = (".txt", ".md", ".jsonl")
COMPRESSED = ".gz"
CHUNK_BYTES = 1 << 16
MAX_LINE_CHARS = 1 << 18  # at most 1 MiB of UTF-8; a longer line is cut at white space
MAX_RECORD_CHARS = 1 << 23  # of one `.jsonl` line, which cannot be cut
MANY_FILES = 20  # so many files are one document each; fewer files are split, to hold out enough
SAMPLE_CHARS = 20_000  # read to detect front matter and hard-wrapped lines
SAMPLE_LINES = 200  # the same, as a number of lines

_BINARY = re.compile(
    r"[\x00-\x08\x0b\x0e-\x1f\x7f]"
)  # control characters that text does not contain; \t \n \f \r are allowed
_UTF_16_MARKS = ((codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_BYTE_ORDER_MARK = "\ufeff"


@dataclass(frozen=True, slots=True)
class InputFile:
    """A file to read."""

    path: Path
    """Path of the file."""

    is_explicit: bool
    """Whether the user gave the file itself, not a folder that contains it."""


def read_documents(
    paths: Sequence[Path], report: Callable[[str], None] = lambda line: None
) -> Iterator[Document]:
    """Stream the documents of files and folders.

    Args:
        paths: Files and folders, read in this order; the files of a folder are read in sorted order.
        report: Receives a line about files that were skipped because they contain no text.

    Raises:
        CorpusError: A file cannot be read as text, or a file that was given explicitly contains no text.
    """
    files = find_files(paths)
    empty: list[Path] = []
    for file in files:
        documents = _read_file(file.path, as_one_document=len(files) >= MANY_FILES)
        first = next(documents, None)
        if first is not None:
            yield first
            yield from documents
        elif file.is_explicit:
            raise CorpusError(f"{file.path} contains no text", "give a file with sentences in it")
        else:
            empty.append(file.path)
    if empty:
        report(f"skipped {len(empty)} files without text; the first is {empty[0]}")


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


def read_lines(path: Path) -> Iterator[str]:
    """Stream the lines of a text file without line breaks; none is longer than MAX_LINE_CHARS.

    Raises:
        CorpusError: The file is not text; the message contains the byte offset.
    """
    newlines = io.IncrementalNewlineDecoder(decoder=None, translate=True)
    rest = ""
    for chunk, _ in _read_text_chunks(path):
        text = newlines.decode(chunk).replace("\f", "\n").replace(_BYTE_ORDER_MARK, "")
        *lines, rest = (rest + text).split("\n")
        yield from itertools.chain.from_iterable(map(_cut_line, lines))
        if len(rest) > MAX_LINE_CHARS:
            *pieces, rest = _cut_line(rest)
            yield from pieces
    yield from _cut_line(rest)


def join_wrapped(lines: Iterable[str]) -> Iterator[str]:
    """Join the hard-wrapped lines of each paragraph; yield an empty string for each blank line."""
    paragraph: list[str] = []
    size = 0
    for line in lines:
        if line.strip() and size < MAX_LINE_CHARS:
            paragraph.append(line)
            size += len(line)
            continue
        yield " ".join(paragraph)
        blank = not line.strip()
        paragraph, size = ([], 0) if blank else ([line], len(line))
        if blank:
            yield ""
    yield " ".join(paragraph)


def _read_file(path: Path, as_one_document: bool) -> Iterator[Document]:
    source = str(path)
    if _detect_format(path) == ".jsonl":
        for text in _read_records(path):
            yield from split_documents(
                _join_if_wrapped(iter(text.splitlines())), source, as_one_document=True
            )
        return
    lines = read_lines(path)
    if _detect_format(path) == ".md":
        lines = _strip_markdown(lines)
    yield from split_documents(_join_if_wrapped(lines), source, as_one_document=as_one_document)


def _read_records(path: Path) -> Iterator[str]:
    """Yield the `text` field of each line of a `.jsonl` file."""
    offset = 0
    for number, (line, size) in enumerate(_read_record_lines(path), start=1):
        where = f"{path}, line {number} ({_describe_offset(path, offset)})"
        offset += size
        line = line.strip().strip(_BYTE_ORDER_MARK)
        if not line:
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as failure:
            raise CorpusError(f"{where} is not JSON: {failure}", "write one JSON object per line") from None
        text = record.get("text") if isinstance(record, dict) else None
        if not isinstance(text, str):
            raise CorpusError(f"{where} has no string field `text`", 'write lines such as {"text": "..."}')
        try:
            text.encode()
        except UnicodeEncodeError:
            raise CorpusError(
                f"{where} has half a surrogate pair in `text`", "write the record again"
            ) from None
        yield _BINARY.sub(" ", text)


def _read_record_lines(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the lines of a `.jsonl` file with their size in bytes, line break included."""
    rest = ""
    encoding = "utf-8"
    for chunk, encoding in _read_text_chunks(path):
        *lines, rest = (rest + chunk).split("\n")
        for line in lines:
            yield line, len(f"{line}\n".encode(encoding))
        if len(rest) > MAX_RECORD_CHARS:
            raise CorpusError(f"{path} has a line of over {MAX_RECORD_CHARS} characters", "split the record")
    yield rest, len(rest.encode(encoding))


def _read_text_chunks(path: Path) -> Iterator[tuple[str, str]]:
    """Stream the text of a file, byte-order mark included, with the name of its encoding.

    Raises:
        CorpusError: The file is not text.
    """
    try:
        with _open(path) as file:
            chunk = file.read(CHUNK_BYTES)
            encoding = next((name for mark, name in _UTF_16_MARKS if chunk.startswith(mark)), "utf-8")
            decoder = codecs.getincrementaldecoder(encoding)()
            offset = 0
            while chunk:
                yield _decode(path, decoder, encoding, chunk, offset), encoding
                offset += len(chunk)
                chunk = file.read(CHUNK_BYTES)
            _decode(path, decoder, encoding, b"", offset)
    except (EOFError, zlib.error, gzip.BadGzipFile) as failure:
        raise CorpusError(f"{path} is a damaged gzip file ({failure})", "compress or copy it again") from None
    except OSError as failure:
        raise CorpusError(f"{path} cannot be read: {failure.strerror}", "check its permissions") from None


def _decode(path: Path, decoder: codecs.IncrementalDecoder, encoding: str, chunk: bytes, offset: int) -> str:
    """Decode the bytes of a file at an offset; an empty chunk ends the file."""
    pending = len(decoder.getstate()[0])
    nul = chunk.find(0) if encoding == "utf-8" else -1
    if nul >= 0:
        where = _describe_offset(path, offset + nul)
        hint = "exclude binary files; if it is UTF-16 text, convert it: iconv -f UTF-16LE -t UTF-8"
        raise CorpusError(f"{path} is not a text file: a NUL byte at {where}", hint)
    try:
        text = decoder.decode(chunk, final=not chunk)
    except UnicodeDecodeError as failure:
        where = _describe_offset(path, offset - pending + failure.start)
        hint = "convert it first, for example: iconv -f LATIN1 -t UTF-8"
        raise CorpusError(f"{path} is not {encoding.upper()}: invalid byte at {where}", hint) from None
    control = _BINARY.search(text)
    if control:
        where = _describe_offset(path, offset - pending + len(text[: control.start()].encode(encoding)))
        name = f"U+{ord(control[0]):04X}"
        raise CorpusError(f"{path} is not a text file: control character {name} at {where}", "exclude it")
    return text


def _join_if_wrapped(lines: Iterator[str]) -> Iterator[str]:
    """Yield the lines unchanged, or joined to paragraphs if the first lines look hard-wrapped."""
    sample = _take_sample(lines)
    filled = [line.strip() for line in sample if line.strip()]
    wrapped = sum(50 <= len(line) <= 90 and line[-1] not in '.!?…:"”’»)' for line in filled)
    all_lines = itertools.chain(sample, lines)
    return join_wrapped(all_lines) if wrapped * 2 > len(filled) else all_lines


def _take_sample(lines: Iterator[str]) -> list[str]:
    """Take the first lines, until there are SAMPLE_LINES or at least SAMPLE_CHARS characters."""
    sample: list[str] = []
    size = 0
    while len(sample) < SAMPLE_LINES and size < SAMPLE_CHARS:
        line = next(lines, None)
        if line is None:
            break
        sample.append(line)
        size += len(line)
    return sample


_FENCE = re.compile(r"\s*(```|~~~)")
# Horizontal rules, underlines of headings, separators of tables, targets of links.
_RULE = re.compile(r"\s*(?:[-*_=]\s*){3,}|[\s|:-]*-{3}[\s|:-]*|\s*\[[^\]]{1,100}\]:\s.*")
_BLOCK = re.compile(r"\s*(?:>\s*)*(?:#{1,6}\s+|[-*+]\s+|\d{1,3}[.)]\s+)")
_LINK = re.compile(r"!?\[([^\[\]]{0,500})\](?:\([^()]{0,2000}\)|\[[^\[\]]{0,100}\])")
_EMPHASIS = re.compile(r"(?<!\w)([*_~]{1,3})(?=\S)([^*_~]{1,1000})(?<=\S)\1(?!\w)")
_TAG = re.compile(r"</?[A-Za-z][^<>]{0,500}>|<https?://[^<>\s]{1,500}>")


def _strip_markdown(lines: Iterator[str]) -> Iterator[str]:
    """Yield the text of Markdown without markup, code blocks, comments and front matter."""
    fence = ""
    in_comment = False
    for line in _skip_front_matter(lines):
        mark = _FENCE.match(line)
        if fence or mark:
            if mark and mark[1] == (fence or mark[1]):
                fence = "" if fence else mark[1]
            continue
        text, in_comment = _strip_comments(line, in_comment)
        if len(text) < 1_000 and _RULE.fullmatch(text):  # the expression takes quadratic time
            continue
        block = _BLOCK.match(text)
        text = _LINK.sub(r"\1", text[block.end() :] if block else text.lstrip(" \t>"))
        text = _TAG.sub("", text)
        for _ in range(2):  # nested: `**_word_**`
            text = _EMPHASIS.sub(r"\2", text)
        text = text.replace("`", "").replace("|", " ")
        # A heading or a list item is not a part of the paragraph around it.
        yield from ("", text.rstrip(" #") if "#" in block[0] else text, "") if block else (text,)


def _skip_front_matter(lines: Iterator[str]) -> Iterator[str]:
    head = _take_sample(lines)
    if head and head[0].strip() == "---":
        ends = [i for i, line in enumerate(head) if i and line.strip() in ("---", "...")]
        head = head[ends[0] + 1 :] if ends else head
    return itertools.chain(head, lines)


def _strip_comments(line: str, inside: bool) -> tuple[str, bool]:
    """Remove HTML comments from a line; also return whether a comment is open at its end."""
    text = ""
    while line:
        before, mark, line = line.partition("-->" if inside else "<!--")
        text += "" if inside else before
        inside = inside != bool(mark)
    return text, inside


def _cut_line(line: str) -> Iterator[str]:
    """Cut a line at white space into parts of at most MAX_LINE_CHARS."""
    while len(line) > MAX_LINE_CHARS:
        space = max(line.rfind(" ", 0, MAX_LINE_CHARS), line.rfind("\t", 0, MAX_LINE_CHARS))
        cut = space + 1 or MAX_LINE_CHARS
        yield line[:cut]
        line = line[cut:]
    yield line


def _expand_path(path: Path) -> list[InputFile]:
    if path.is_dir():
        found = [InputFile(file, is_explicit=False) for file in _walk_folder(path)]
        if not found:
            raise CorpusError(f"{path} contains no file in a supported format", _list_formats())
        return found
    require_file(path, CorpusError)
    if _detect_format(path) is None:
        raise CorpusError(f"{path} has an unsupported file name extension", _list_formats())
    return [InputFile(path, is_explicit=True)]


def _walk_folder(folder: Path) -> Iterator[Path]:
    def refuse(failure: OSError) -> None:
        raise CorpusError(f"{failure.filename} cannot be read: {failure.strerror}", "check its permissions")

    for root, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if not name.startswith(".") and _detect_format(path) and path.is_file():
                yield path


def _detect_format(path: Path) -> str | None:
    """Return the format in FORMATS by the file's name, or None."""
    name = path.name.lower().removesuffix(COMPRESSED)
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), None)


def _open(path: Path) -> io.BufferedIOBase:
    return gzip.open(path) if path.name.lower().endswith(COMPRESSED) else path.open("rb")


def _describe_offset(path: Path, offset: int) -> str:
    return f"byte {offset}" + (" of the decompressed text" if path.name.lower().endswith(COMPRESSED) else "")


def _list_formats() -> str:
    return f"supported are {', '.join(FORMATS)}, each also with {COMPRESSED}"
