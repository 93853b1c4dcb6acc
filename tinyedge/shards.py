"""Tokenized text on disk: uint16 tokens to train on and tokens held out, split before any window is cut.

In: a split corpus and a tokenizer. Out: `train.bin`, `validation.bin` and `shards.json` in one folder. One
document is in memory at a time; readers map the files, never load them.
"""

import dataclasses
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from tinyedge import files
from tinyedge.corpus.split import Split
from tinyedge.errors import CorpusError
from tinyedge.evaluate import Passage, passage_of
from tinyedge.tokenizer import Tokenizer

SCHEMA = "tinyedge.shards/1"
FOLDER = "shards"  # in a run's folder
TRAIN_FILE, VALIDATION_FILE, INDEX_FILE = "train.bin", "validation.bin", "shards.json"


@dataclass(frozen=True)
class _Entry:
    """A held-out passage's place in validation.bin."""

    language: str
    start: int
    tokens: int
    bytes: int


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
        self._entries = [_Entry(**entry) for entry in index["validation"]]
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
        held = sum(entry.tokens for entry in shards._entries)
        for name, tokens, digest in (
            (TRAIN_FILE, shards.train_tokens, shards.train_sha256),
            (VALIDATION_FILE, held, shards.validation_sha256),
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

    def training(self) -> npt.NDArray[np.uint16]:
        """The training tokens, memory-mapped: (train_tokens,)."""
        return np.memmap(self.folder / TRAIN_FILE, dtype="<u2", mode="r")

    def validation_passages(self, language: str | None = None) -> Iterator[Passage]:
        """Held-out documents, of one language or of all."""
        for name, passage in self.validation():
            if language in (None, name):
                yield passage

    def validation(self) -> Iterator[tuple[str, Passage]]:
        """Held-out documents with their languages."""
        tokens = np.memmap(self.folder / VALIDATION_FILE, dtype="<u2", mode="r")
        for entry in self._entries:
            yield entry.language, Passage(tokens[entry.start : entry.start + entry.tokens], entry.bytes)


def build_shards(split: Split, tokenizer: Tokenizer, folder: Path) -> Shards:
    """Tokenizes a corpus into `folder`; every line is BOS ... EOS, and no document is on both sides."""
    folder.mkdir(parents=True, exist_ok=True)
    entries: list[_Entry] = []
    train_tokens = train_bytes = position = 0
    (folder / INDEX_FILE).unlink(missing_ok=True)  # an index never describes files that are being replaced
    with (
        files.atomic_writer(folder / TRAIN_FILE) as train,
        files.atomic_writer(folder / VALIDATION_FILE) as validation,
    ):
        for document in split.documents():
            if document.training:
                passage = passage_of(document.training, tokenizer)
                train.write(passage.tokens.astype("<u2").tobytes())
                train_tokens += len(passage.tokens)
                train_bytes += passage.bytes
            if document.held_out:
                passage = passage_of(document.held_out, tokenizer)
                validation.write(passage.tokens.astype("<u2").tobytes())
                entries.append(_Entry(document.language, position, len(passage.tokens), passage.bytes))
                position += len(passage.tokens)
    index = {
        "schema": SCHEMA,
        "corpus_sha256": files.sha256_file(split.corpus),
        "tokenizer_sha256": tokenizer.sha256,
        "train_tokens": train_tokens,
        "train_bytes": train_bytes,
        "train_sha256": files.sha256_file(folder / TRAIN_FILE),
        "validation_sha256": files.sha256_file(folder / VALIDATION_FILE),
        "held_out": split.by,
        "validation": [dataclasses.asdict(entry) for entry in entries],
    }
    files.write_json(folder / INDEX_FILE, index)
    return Shards.load(folder)
