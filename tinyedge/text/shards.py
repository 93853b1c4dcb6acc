"""Tokenized text on disk: uint16 training and validation tokens, separated before any window is cut.

In: a split corpus and a tokenizer. Out: `train.bin`, `validation.bin` and `shards.json` in one folder. Only a
few documents are in memory at a time; readers read slices, never a complete file.
"""

import dataclasses
import hashlib
import itertools
import os
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tinyedge.core import files
from tinyedge.core.arrays import TokenIds
from tinyedge.core.config import TURNS_TEMPLATE
from tinyedge.core.errors import CorpusError
from tinyedge.core.runs import ALL
from tinyedge.corpus.split import Split, SplitDocument
from tinyedge.host.affinity import count_usable_cores
from tinyedge.text.evaluate import Passage, tokenize_conversation, tokenize_document
from tinyedge.text.tokenizer import BOS_ID, PAD_ID, UNK_ID, Tokenizer

SCHEMA = "tinyedge.shards/1"
FOLDER = "shards"  # inside a run's folder
TRAIN_FILE, VALIDATION_FILE, INDEX_FILE = "train.bin", "validation.bin", "shards.json"
COUNT_CHUNK_TOKENS = 1 << 20  # read at a time to count pieces
BATCH_CHARS = 1 << 18  # characters that a thread tokenizes at a time: about 20 ms of work


@dataclass(frozen=True)
class _PassageEntry:
    """Position of one held-out passage in validation.bin."""

    language: str
    """Language of the document."""

    start: int
    """Index of the first token."""

    tokens: int
    """Number of tokens."""

    bytes: int
    """UTF-8 length of the lines, with one line break each."""

    unknown_bytes: int | None = None
    """Number of these bytes that are behind UNK; None in an index of an earlier version."""


class TokenFile:
    """A sequence of uint16 tokens on disk; `file[start:stop]` reads a slice, (stop - start,).

    The file is read, not memory-mapped: every touched page of a mapping counts as memory of the process, and
    a shuffled epoch touches all of them.

    Args:
        path: A file of little-endian uint16 values.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = os.open(path, os.O_RDONLY)
        self._tokens = os.fstat(self._descriptor).st_size // 2
        weakref.finalize(self, os.close, self._descriptor)

    def __len__(self) -> int:
        return self._tokens

    def __getitem__(self, part: slice) -> TokenIds:
        """Read a slice with step 1.

        Raises:
            CorpusError: The file became shorter after it was opened.
        """
        start, stop, _ = part.indices(self._tokens)
        data = os.pread(self._descriptor, 2 * (stop - start), 2 * start)
        if len(data) < 2 * (stop - start):
            raise CorpusError(f"{self._path} was truncated while it was read", "delete its folder")
        return np.frombuffer(data, dtype="<u2")


class Shards:
    """A folder of token files, opened for reading.

    Args:
        folder: The folder.
        index: The content of its `shards.json`.

    Raises:
        ValueError: The passages in the index are not contiguous.
    """

    def __init__(self, folder: Path, index: dict[str, Any]) -> None:
        self.folder = folder
        self.corpus_sha256: str = index["corpus_sha256"]
        self.tokenizer_sha256: str = index["tokenizer_sha256"]
        self.train_tokens: int = index["train_tokens"]
        self.train_bytes: int = index["train_bytes"]
        self.train_sha256: str = index["train_sha256"]
        self.validation_sha256: str = index["validation_sha256"]
        self.held_out: str = index["held_out"]
        self.template: str = index.get("template", "")
        """The template of the conversations, or empty for text."""
        self.turns: int = index.get("turns", 0)
        """Largest number of prompts in a conversation to train on; 0 for text."""
        self._entries = [_PassageEntry(**entry) for entry in index["validation"]]
        ends = [0, *itertools.accumulate(entry.tokens for entry in self._entries)]
        if [entry.start for entry in self._entries] != ends[:-1]:
            raise ValueError("its passages are not contiguous")

    @classmethod
    def load(cls, folder: Path, tokenizer: Tokenizer | None = None) -> "Shards":
        """Open a folder and check sizes and sha256 of its files.

        Args:
            folder: The folder.
            tokenizer: The tokenizer of the shards. With it, the bytes behind UNK are counted where an index
                of an earlier version lacks them.

        Raises:
            CorpusError: A file is missing, damaged or from another version.
        """
        index = files.read_json(folder / INDEX_FILE, SCHEMA, CorpusError)
        if "incomplete" in index:
            raise CorpusError(
                f"{folder} is incomplete: the command that wrote it was interrupted", "run it again"
            )
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
                    f"{folder / name} does not match {INDEX_FILE}: its sha256 differs",
                    "delete the folder and run the command again",
                )
        if any(entry.unknown_bytes is None for entry in shards._entries):
            if tokenizer is None:
                raise CorpusError(
                    f"{folder} was written by an earlier version, which did not count the bytes behind UNK",
                    "delete the folder and run the command again",
                )
            if tokenizer.sha256 == shards.tokenizer_sha256:  # otherwise the caller refuses the folder
                shards._count_unknown_bytes(tokenizer)
        return shards

    @property
    def languages(self) -> tuple[str, ...]:
        """Languages that have held-out text, sorted."""
        return tuple(sorted({entry.language for entry in self._entries}))

    @property
    def validation_tokens(self) -> int:
        """Number of held-out tokens."""
        return sum(entry.tokens for entry in self._entries)

    @property
    def unknown_byte_shares(self) -> dict[str, float]:
        """Share of held-out bytes behind UNK, 0-1, by language and for ALL."""
        sizes: Counter[str] = Counter()
        unknown: Counter[str] = Counter()
        for entry in self._entries:
            for name in (ALL, entry.language):
                sizes[name] += entry.bytes
                unknown[name] += entry.unknown_bytes or 0
        return {name: unknown[name] / sizes[name] for name in sorted(sizes)}

    @property
    def validation_bytes(self) -> int:
        """Number of held-out UTF-8 bytes."""
        return sum(entry.bytes for entry in self._entries)

    def training(self) -> TokenFile:
        """Open the training tokens, (train_tokens,)."""
        return TokenFile(self.folder / TRAIN_FILE)

    def open_held_out(self) -> TokenFile:
        """Open the held-out tokens, (validation_tokens,): the documents of `validation`, in its order."""
        return TokenFile(self.folder / VALIDATION_FILE)

    def count_pieces(self, vocab_size: int) -> "np.ndarray[tuple[int], np.dtype[np.int64]]":
        """Count the occurrences of each piece in the training tokens.

        Returns:
            Counts by token id, (vocab_size,).
        """
        counts = np.zeros(vocab_size, dtype=np.int64)
        tokens = self.training()
        for start in range(0, len(tokens), COUNT_CHUNK_TOKENS):
            counts += np.bincount(tokens[start : start + COUNT_CHUNK_TOKENS], minlength=vocab_size)
        return counts

    def validation_passages(self, language: str | None = None) -> Iterator[Passage]:
        """Read the held-out documents of one language, or of all if None."""
        for name, passage in self.validation():
            if language in (None, name):
                yield passage

    def validation(self) -> Iterator[tuple[str, Passage]]:
        """Read the held-out documents with their languages; one is in memory at a time."""
        tokens = self.open_held_out()
        for entry in self._entries:
            passage = Passage(
                tokens[entry.start : entry.start + entry.tokens],
                entry.bytes,
                entry.unknown_bytes or 0,
                is_conversation=bool(self.template),
            )
            yield entry.language, passage

    def _count_unknown_bytes(self, tokenizer: Tokenizer) -> None:
        """Count the bytes behind UNK as the bytes of a passage that its other tokens do not account for.

        This is exact for the lines of a corpus, whose white space is collapsed and which are in NFC.
        """
        replacement = len(tokenizer.piece(UNK_ID))
        counted = []
        for entry, (_, passage) in zip(self._entries, self.validation(), strict=True):
            ids = passage.tokens.tolist()
            unknown = ids.count(UNK_ID)
            known = len(tokenizer.decode(ids).encode()) - unknown * replacement if unknown else entry.bytes
            counted.append(dataclasses.replace(entry, unknown_bytes=max(0, entry.bytes - known)))
        self._entries = counted


def build_shards(split: Split, tokenizer: Tokenizer, folder: Path) -> Shards:
    """Tokenize a corpus into token files, every line as BOS ... EOS.

    Pairs are tokenized in the template of `text.turns`, and PAD follows each conversation to train on.

    Args:
        split: The corpus and its held-out lines.
        tokenizer: The tokenizer.
        folder: Where the files go; existing ones are replaced.

    Raises:
        CorpusError: The corpus is not UTF-8 text, or a file would be replaced that tinyedge did not write.
    """
    folder.mkdir(parents=True, exist_ok=True)
    _require_own_files(folder)
    entries: list[_PassageEntry] = []
    train_tokens = train_bytes = position = turns = 0
    # An index must never describe files that are being replaced; without its fields they are rebuilt.
    incomplete = {"schema": SCHEMA, "incomplete": True}
    files.write_json(folder / INDEX_FILE, incomplete)
    train_digest, validation_digest = hashlib.sha256(), hashlib.sha256()
    with (
        files.atomic_writer(folder / TRAIN_FILE) as train,
        files.atomic_writer(folder / VALIDATION_FILE) as validation,
    ):
        for language, training, held_out in _tokenize_documents(
            split.documents(), tokenizer, split.has_pairs
        ):
            data = training.tokens.astype("<u2").tobytes()
            train.write(data)
            train_digest.update(data)
            train_tokens += len(training.tokens)
            turns = max(turns, int((training.tokens == BOS_ID).sum()) // 2)
            train_bytes += training.bytes
            if held_out.bytes:
                data = held_out.tokens.astype("<u2").tobytes()
                validation.write(data)
                validation_digest.update(data)
                entries.append(
                    _PassageEntry(
                        language, position, len(held_out.tokens), held_out.bytes, held_out.unknown_bytes
                    )
                )
                position += len(held_out.tokens)
        digests = {
            "train_sha256": train_digest.hexdigest(),
            "validation_sha256": validation_digest.hexdigest(),
        }
        # Recorded before the files get their names, so that those of a killed process are recognized.
        files.write_json(folder / INDEX_FILE, {**incomplete, **digests})
    index = {
        "schema": SCHEMA,
        "corpus_sha256": files.sha256_file(split.corpus),
        "tokenizer_sha256": tokenizer.sha256,
        "train_tokens": train_tokens,
        "train_bytes": train_bytes,
        **digests,
        "held_out": split.unit,
        **({"template": TURNS_TEMPLATE, "turns": turns} if split.has_pairs else {}),
        "validation": [dataclasses.asdict(entry) for entry in entries],
    }
    files.write_json(folder / INDEX_FILE, index)
    return Shards.load(folder)


def _require_own_files(folder: Path) -> None:
    """Raise CorpusError if a file would be replaced that tinyedge did not write: own files have an index."""
    index = folder / INDEX_FILE
    is_own = index.is_file() and SCHEMA.partition("/")[0].encode() in index.read_bytes()
    for name in (INDEX_FILE, TRAIN_FILE, VALIDATION_FILE):
        if (folder / name).exists() and not is_own:
            raise CorpusError(
                f"{folder / name} was not written by tinyedge and would be replaced",
                f"move {folder} away, or pass another --output-dir",
            )


def _tokenize_documents(
    documents: Iterable[SplitDocument], tokenizer: Tokenizer, has_pairs: bool = False
) -> Iterator[tuple[str, Passage, Passage]]:
    """Yield language, training lines and held-out lines of each document, in order.

    SentencePiece, half of the work, releases Python's global lock, so threads use several cores.
    """
    workers = count_usable_cores()
    tokenize_lines = tokenize_conversation if has_pairs else tokenize_document

    def tokenize(group: list[SplitDocument]) -> list[tuple[str, Passage, Passage]]:
        return [
            (
                document.language,
                _end_conversation(tokenize_lines(document.training, tokenizer)),
                tokenize_lines(document.held_out, tokenizer),
            )
            for document in group
        ]

    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[list[tuple[str, Passage, Passage]]]] = deque()
        for group in _batch_documents(documents):
            pending.append(pool.submit(tokenize, group))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        for future in pending:
            yield from future.result()


def _end_conversation(passage: Passage) -> Passage:
    """Add PAD to a conversation, which separates it from the next one in the training tokens."""
    if not (passage.is_conversation and len(passage.tokens)):
        return passage
    return dataclasses.replace(passage, tokens=np.append(passage.tokens, np.uint16(PAD_ID)))


def _batch_documents(documents: Iterable[SplitDocument]) -> Iterator[list[SplitDocument]]:
    """Group documents into batches of at least BATCH_CHARS characters; the last one may have fewer."""
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
