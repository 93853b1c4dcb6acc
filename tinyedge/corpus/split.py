"""Which lines of a corpus are held out: decided by document, before a vocabulary or a window sees any."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.build import read_corpus_documents
from tinyedge.corpus.language import detect_language

VALIDATION_SHARE = 0.1  # the guide's 90/10
MIN_DOCUMENTS = 10  # below it, holding out whole documents would take far more or less than a tenth
MIN_LANGUAGE_SHARE = 0.01  # of the bytes: below it a language's held-out tenth would be too little to measure
LANGUAGE_SAMPLE_CHARS = 4000  # enough text to tell a language
SPLIT_SEED = 0  # fixed: what is held out must not change with the seed of a training run


@dataclass(frozen=True)
class SplitDocument:
    """A document's lines, shared out; one side is empty unless the language has too few documents."""

    language: str
    training: list[str]
    held_out: list[str]


@dataclass(frozen=True)
class Split:
    """Of each document in order, its language and the number of its first held-out line.

    by: "documents", or "passages" where a language had too few documents to hold whole ones out.
    """

    corpus: Path
    unit: str
    _first_held_out: tuple[tuple[str, int], ...]

    def documents(self) -> Iterator[SplitDocument]:
        """The corpus again, each document shared out; one is in memory at a time."""
        for (language, first), lines in zip(
            self._first_held_out, read_corpus_documents(self.corpus), strict=True
        ):
            yield SplitDocument(language, lines[:first], lines[first:])

    def training_lines(self) -> Iterator[str]:
        """Every line that may be learned from."""
        for document in self.documents():
            yield from document.training

    def held_out_lines(self) -> Iterator[str]:
        """Every line that may not."""
        for document in self.documents():
            yield from document.held_out


def draw_split(corpus: Path) -> Split:
    """Holds out a tenth of each language's bytes, in whole documents drawn by a fixed seed.

    A language with fewer than ten documents gives the last tenth of each instead; one that is a stray
    (under a hundredth of the corpus, such as a few documents whose language cannot be told) gives none.
    Raises CorpusError when there is too little text to hold anything out.
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
    """Documents in a seeded order until their bytes come closest to the share."""
    salt = int.from_bytes(hashlib.sha256(language.encode()).digest()[:4], "little")
    goal, taken = VALIDATION_SHARE * sum(sizes), 0
    for place in np.random.default_rng([SPLIT_SEED, salt]).permutation(len(numbers)):
        if taken and taken + sizes[place] / 2 > goal:
            return
        taken += sizes[place]
        yield numbers[place]
