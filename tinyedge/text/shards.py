"""Tokenized text on disk: uint16 tokens to train on and tokens held out, split before any window is cut.

In: a split corpus and a tokenizer. Out: `train.bin`, `validation.bin` and `shards.json` in one folder. A few
documents are in memory at a time; readers read slices of the files, never the whole.
"""

import dataclasses
import itertools
import os
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyedge.core import files
from tinyedge.core.arrays import TokenIds
from tinyedge.core.errors import CorpusError
from tinyedge.corpus.split import Split, SplitDocument
from tinyedge.host.cpu import count_usable_cores
from tinyedge.text.evaluate import Passage, tokenize_document
from tinyedge.text.tokenizer import Tokenizer

SCHEMA = "tinyedge.shards/1"
FOLDER = "shards"  # in a run's folder
TRAIN_FILE, VALIDATION_FILE, INDEX_FILE = "train.bin", "validation.bin", "shards.json"
COUNT_CHUNK_TOKENS = 1 << 20  # tokens
BATCH_CHARS = 1 << 18  # of documents tokenized at a time: some 20 ms of work


@dataclass(frozen=True)
class _PassageEntry:
    """A held-out passage's place in validation.bin."""

    language: str
    start: int
    tokens: int
    bytes: int


class TokenFile:
    """uint16 tokens on disk, as a sequence of which slices are read: `file[start:stop]` is (stop - start,).

    Read, not mapped: every page of a mapping that was ever touched counts as memory of the process, and a
    shuffled epoch touches them all.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        self._tokens = os.fstat(self._descriptor).st_size // 2
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self._tokens

    def __getitem__(self, part: slice) -> TokenIds:
        start, stop, _ = part.indices(self._tokens)
        data = os.pread(self._descriptor, 2 * (stop - start), 2 * start)
        if len(data) < 2 * (stop - start):
            raise CorpusError(f"{self._path} was cut short while it was read", "delete its folder")
        return np.frombuffer(data, dtype="<u2")


class Shards:
    """A folder of token files, opened for reading."""

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder = folder
        self.corpus_sha256: str = index["corpus_sha256"]
        self.tokenizer_sha256: str = index["tokenizer_sha256"]
        self.train_tokens: int = index["train_tokens"]
        self.train_bytes: int = index["train_bytes"]
        self.train_sha256: str = index["train_sha256"]
        self.validation_sha256: str = index["validation_sha256"]
        self.held_out: str = index["held_out"]
        self._entries = [_PassageEntry(**entry) for entry in index["validation"]]
        ends = [0, *itertools.accumulate(entry.tokens for entry in self._entries)]
        if [entry.start for entry in self._entries] != ends[:-1]:
            raise ValueError("its passages do not follow one another")

    @classmethod
    def load(cls, folder: Path) -> "Shards":
        """Opens `folder`. Raises CorpusError when a file is missing, damaged or of another version."""
        index = files.read_json(folder / INDEX_FILE, SCHEMA, CorpusError)
        try:
            shards = cls(folder, index)
        except (KeyError, TypeError, ValueError) as failure:
            raise CorpusError(f"{folder / INDEX_FILE} is damaged: {failure}", "delete the folder") from None
        held_out_tokens = sum(entry.tokens for entry in shards._entries)
        for name, tokens, digest in (
            (TRAIN_FILE, shards.train_tokens, shards.train_sha256),
            (VALIDATION_FILE, held_out_tokens, shards.validation_sha256),
        ):
            files.require_file(folder / name, CorpusError, "delete the folder and run the command again")
            size = (folder / name).stat().st_size
            if size != 2 * tokens:
                raise CorpusError(
                    f"{folder / name} has {size} bytes, {2 * tokens} expected",
                    "delete the folder and run the command again",
                )
            if files.sha256_file(folder / name) != digest:
                raise CorpusError(
                    f"{folder / name} is not what {INDEX_FILE} describes: its sha256 differs",
                    "delete the folder and run the command again",
                )
        return shards

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages with held-out text, sorted."""
        return tuple(sorted({entry.language for entry in self._entries}))

    @property
    def validation_tokens(self) -> int:
        """Held-out tokens."""
        return sum(entry.tokens for entry in self._entries)

    @property
    def validation_bytes(self) -> int:
        """Held-out UTF-8 bytes."""
        return sum(entry.bytes for entry in self._entries)

    def training(self) -> TokenFile:
        """The training tokens: (train_tokens,)."""
        return TokenFile(self.folder / TRAIN_FILE)

    def count_pieces(self, vocab_size: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """How often each piece stands in the training tokens: (vocab_size,)."""
        counts = np.zeros(vocab_size, dtype=np.int64)
        tokens = self.training()
        for start in range(0, len(tokens), COUNT_CHUNK_TOKENS):
            counts += np.bincount(tokens[start : start + COUNT_CHUNK_TOKENS], minlength=vocab_size)
        return counts

    def validation_passages(self, language: str | None = None) -> Iterator[Passage]:
        """Held-out documents, of one language or of all."""
        for name, passage in self.validation():
            if language in (None, name):
                yield passage

    def validation(self) -> Iterator[tuple[str, Passage]]:
        """Held-out documents with their languages, one in memory at a time."""
        tokens = TokenFile(self.folder / VALIDATION_FILE)
        for entry in self._entries:
            yield entry.language, Passage(tokens[entry.start : entry.start + entry.tokens], entry.bytes)


def build_shards(split: Split, tokenizer: Tokenizer, folder: Path) -> Shards:
    """Tokenizes a corpus into `folder`; every line is BOS ... EOS, and no document is on both sides."""
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[_PassageEntry] = []
    train_tokens = train_bytes = position = 0
    (folder / INDEX_FILE).unlink(missing_ok=True)  # an index never describes files that are being replaced
    with (
        files.atomic_writer(folder / TRAIN_FILE) as train,
        files.atomic_writer(folder / VALIDATION_FILE) as validation,
    ):
        for language, training, held_out in _tokenize_documents(split.documents(), tokenizer):
            train.write(training.tokens.astype("<u2").tobytes())
            train_tokens += len(training.tokens)
            train_bytes += training.bytes
            if held_out.bytes:
                validation.write(held_out.tokens.astype("<u2").tobytes())
                entries.append(_PassageEntry(language, position, len(held_out.tokens), held_out.bytes))
                position += len(held_out.tokens)
    index = {
        "schema": SCHEMA,
        "corpus_sha256": files.sha256_file(split.corpus),
        "tokenizer_sha256": tokenizer.sha256,
        "train_tokens": train_tokens,
        "train_bytes": train_bytes,
        "train_sha256": files.sha256_file(folder / TRAIN_FILE),
        "validation_sha256": files.sha256_file(folder / VALIDATION_FILE),
        "held_out": split.unit,
        "validation": [dataclasses.asdict(entry) for entry in entries],
    }
    files.write_json(folder / INDEX_FILE, index)
    return Shards.load(folder)


def _tokenize_documents(
    documents: Iterable[SplitDocument], tokenizer: Tokenizer
) -> Iterator[tuple[str, Passage, Passage]]:
    """Of each document in order: language, what is learned from, what is held out.

    SentencePiece, half of the work, lets go of Python's lock, so threads spread it over the cores.
    """
    workers = count_usable_cores()

    def tokenize(group: list[SplitDocument]) -> list[tuple[str, Passage, Passage]]:
        return [
            (
                each.language,
                tokenize_document(each.training, tokenizer),
                tokenize_document(each.held_out, tokenizer),
            )
            for each in group
        ]

    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[list[tuple[str, Passage, Passage]]]] = deque()
        for group in _batch_documents(documents):
            pending.append(pool.submit(tokenize, group))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        for future in pending:
            yield from future.result()


def _batch_documents(documents: Iterable[SplitDocument]) -> Iterator[list[SplitDocument]]:
    """Documents by the handful: as many as make GROUP_CHARS, or one that has more."""
    group: list[SplitDocument] = []
    size = 0
    for document in documents:
        group.append(document)
        size += sum(map(len, document.training)) + sum(map(len, document.held_out))
        if size >= BATCH_CHARS:
            yield group
            group, size = [], 0
    if group:
        yield group
