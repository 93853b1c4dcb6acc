"""Choose the held-out lines of a corpus, by document, before a vocabulary or a model sees any text.

In: a corpus file. Out: its documents with training and held-out lines. Does not know tokenizers or models.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.build import read_corpus_documents
from tinyedge.corpus.language import detect_language

VALIDATION_SHARE = 0.1  # 90/10, as the project's guide specifies
MIN_DOCUMENTS = 10  # with fewer, complete documents would make far more or less than a tenth
MIN_LANGUAGE_SHARE = 0.01  # of the bytes: below it a language's held-out tenth would be too little to measure
LANGUAGE_SAMPLE_CHARS = 4000  # enough text to detect a language
SPLIT_SEED = 0  # fixed: the held-out text must not change with the seed of a training run


@dataclass(frozen=True)
class SplitDocument:
    """Lines of a document; either part is empty, unless the language has too few documents."""

    language: str
    """Detected language."""

    training: list[str]
    """Lines to train on."""

    held_out: list[str]
    """Lines for validation only."""


@dataclass(frozen=True)
class Split:
    """A corpus with the choice of its held-out lines."""

    corpus: Path
    """The corpus file."""

    unit: str
    """What is held out: "documents", or "passages" if a language has too few documents."""

    _first_held_out: tuple[tuple[str, int], ...]
    """Language and index of the first held-out line of each document, in order."""

    def documents(self) -> Iterator[SplitDocument]:
        """Read the corpus as split documents; one is in memory at a time."""
        for (language, first), lines in zip(
            self._first_held_out, read_corpus_documents(self.corpus), strict=True
        ):
            yield SplitDocument(language, lines[:first], lines[first:])

    def training_lines(self) -> Iterator[str]:
        """Read all lines to train on."""
        for document in self.documents():
            yield from document.training

    def held_out_lines(self) -> Iterator[str]:
        """Read all held-out lines."""
        for document in self.documents():
            yield from document.held_out


def draw_split(corpus: Path) -> Split:
    """Hold out a tenth of each language's bytes, in complete documents drawn with a fixed seed.

    In a language with fewer than MIN_DOCUMENTS documents, the last tenth of each document is held out
    instead. A language with less than MIN_LANGUAGE_SHARE of the corpus, such as a few documents of unknown
    language, is only trained on.

    Raises:
        CorpusError: There is too little text to hold anything out.
    """
    sizes: list[tuple[str, int, int]] = []  # language, bytes, lines
    for lines in read_corpus_documents(corpus):
        language = detect_language(" ".join(lines)[:LANGUAGE_SAMPLE_CHARS])
        sizes.append((language, sum(len(line.encode()) + 1 for line in lines), len(lines)))
    if sum(lines for *_, lines in sizes) < MIN_DOCUMENTS:
        raise CorpusError(f"{corpus} has too little text to hold a tenth of it out", "add text")
    first_held_out = [(language, lines) for language, _, lines in sizes]
    unit = "documents"
    min_bytes = MIN_LANGUAGE_SHARE * sum(size for _, size, _ in sizes)
    for language in sorted({language for language, *_ in sizes}):
        numbers = [number for number, (name, *_) in enumerate(sizes) if name == language]
        if sum(sizes[number][1] for number in numbers) < min_bytes:
            continue
        if len(numbers) < MIN_DOCUMENTS:
            unit = "passages"
            for number in numbers:
                count = sizes[number][2]
                first_held_out[number] = language, count - round(count * VALIDATION_SHARE)
            continue
        for number in _draw_documents(language, numbers, [sizes[number][1] for number in numbers]):
            first_held_out[number] = language, 0
    return Split(corpus, unit, tuple(first_held_out))


def _draw_documents(language: str, numbers: list[int], sizes: list[int]) -> Iterator[int]:
    """Yield document numbers in a seeded order until their bytes are closest to VALIDATION_SHARE."""
    salt = int.from_bytes(hashlib.sha256(language.encode()).digest()[:4], "little")
    goal, taken = VALIDATION_SHARE * sum(sizes), 0
    for place in np.random.default_rng([SPLIT_SEED, salt]).permutation(len(numbers)):
        if taken and taken + sizes[place] / 2 > goal:
            return
        taken += sizes[place]
        yield numbers[place]
