"""Choose the held-out lines of a corpus, by document, before a vocabulary or a model sees any text.

In: a corpus file. Out: its documents with training and held-out lines. Does not know tokenizers or models.
"""

import hashlib
import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.build import has_pairs
from tinyedge.corpus.corpus_file import read_corpus_documents
from tinyedge.corpus.language import detect_language

VALIDATION_SHARE = 0.1  # 90/10, as the project's guide specifies
MIN_DOCUMENTS = 10  # with fewer, complete documents would make far more or less than a tenth
TOLERANCE = 0.5  # of the tenth: between a twentieth and three twentieths is close enough
MIN_HELD_OUT_SHARE = 0.02  # of the corpus: less than a fiftieth measures too little
MIN_LANGUAGE_SHARE = 0.01  # of the bytes: below it a language's held-out tenth would be too little to measure
LANGUAGE_SAMPLE_CHARS = 4000  # enough text to detect a language
PROMPTS = "prompts"
SPLIT_SEED = 0  # fixed: the held-out text must not change with the seed of a training run


@dataclass(frozen=True)
class SplitDocument:
    """Lines of a document; either part is empty, unless the document is cut."""

    language: str
    """Detected language."""

    training: list[str]
    """Lines to train on."""

    held_out: list[str]
    """Lines for validation only."""


@dataclass(frozen=True, slots=True)
class _Size:
    """Language and size of a document, which decide whether it is held out."""

    language: str
    """Detected language."""

    size: int
    """UTF-8 bytes of its lines, with one line break each."""

    lines: int
    """Number of lines."""


@dataclass(frozen=True)
class Split:
    """A corpus with the choice of its held-out lines."""

    corpus: Path
    """The corpus file."""

    name: str
    """Name of the text in error messages."""

    unit: str
    """What is held out: "documents", "passages" if at least one document is cut, or "prompts" of pairs."""

    _first_held_out: tuple[tuple[str, int], ...]
    """Language and index of the first held-out line of each document, in order."""

    @property
    def has_pairs(self) -> bool:
        """Whether documents are conversations: their lines are prompt, completion, prompt, and so on."""
        return self.unit == PROMPTS

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


def draw_split(corpus: Path, name: str = "") -> Split:
    """Hold out a tenth of each language's bytes, in complete documents drawn with a fixed seed.

    A document that is much larger than a tenth of its language is not drawn, because the held-out share
    would depend on it alone. It is cut instead: its last tenth is held out. With fewer than MIN_DOCUMENTS
    other documents, all documents of the language are cut. A language with less than MIN_LANGUAGE_SHARE of
    the corpus, such as a few documents of unknown language, is only trained on.

    Of pairs, a tenth of the prompts is drawn instead, with all conversations that begin with one of them.

    Args:
        corpus: The corpus file.
        name: Name of its text in error messages; by default, the path of the file.

    Raises:
        CorpusError: The corpus has too few lines to hold about a tenth of it out.
    """
    name = name or str(corpus)
    if has_pairs(corpus):
        return _draw_prompts(corpus, name)
    sizes = [
        _Size(
            detect_language(" ".join(lines)[:LANGUAGE_SAMPLE_CHARS]),
            sum(map(_count_bytes, lines)),
            len(lines),
        )
        for lines in read_corpus_documents(corpus)
    ]
    total = sum(document.size for document in sizes)
    first_held_out = [document.lines for document in sizes]
    held_out_bytes = 0
    cut: set[int] = set()
    for language in sorted({document.language for document in sizes}):
        numbers = [number for number, document in enumerate(sizes) if document.language == language]
        if sum(sizes[number].size for number in numbers) < MIN_LANGUAGE_SHARE * total:
            continue
        complete = _exclude_large(numbers, sizes)
        cut.update(set(numbers) - set(complete))
        for number in _draw_documents(language, complete, [sizes[number].size for number in complete]):
            first_held_out[number] = 0
            held_out_bytes += sizes[number].size
    if cut:
        for number, (first, size) in _cut_documents(corpus, cut, sizes).items():
            first_held_out[number] = first
            held_out_bytes += size
    lines = sum(document.lines for document in sizes)
    if not MIN_HELD_OUT_SHARE * total < held_out_bytes <= (1 + TOLERANCE) * VALIDATION_SHARE * total:
        raise CorpusError(
            f"{name} has too little text to hold a tenth of it out: it has {lines} lines",
            "add text; if its lines are very long, write one sentence per line",
        )
    unit = "passages" if cut else "documents"
    languages = (document.language for document in sizes)
    return Split(corpus, name, unit, tuple(zip(languages, first_held_out, strict=True)))


def _draw_prompts(corpus: Path, name: str) -> Split:
    """Hold out a tenth of each language's bytes of pairs: the conversations of prompts drawn by a fixed seed.

    Raises:
        CorpusError: There are too few different prompts.
    """
    conversations: list[tuple[str, int]] = []  # first prompt, number of lines
    languages: dict[str, str] = {}  # of each prompt, with all its conversations
    sizes: dict[str, Counter[str]] = {}  # bytes by language and prompt
    for lines in read_corpus_documents(corpus):
        prompt = lines[0]
        if prompt not in languages:
            languages[prompt] = detect_language(" ".join(lines))
        language = languages[prompt]
        sizes.setdefault(language, Counter())[prompt] += sum(map(_count_bytes, lines))
        conversations.append((prompt, len(lines)))
    held_out: set[str] = set()
    total = sum(group.total() for group in sizes.values())
    for language, group in sorted(sizes.items()):
        if group.total() >= MIN_LANGUAGE_SHARE * total:
            prompts = list(group)
            drawn = _draw_documents(language, list(range(len(prompts))), list(group.values()))
            held_out.update(prompts[number] for number in drawn)
    size = sum(sizes[languages[prompt]][prompt] for prompt in held_out)
    if len(languages) < MIN_DOCUMENTS or size < MIN_HELD_OUT_SHARE * total:
        raise CorpusError(
            f"{name} has too few pairs to hold a tenth out: it has {len(languages)} different prompts",
            f"add pairs, with at least {MIN_DOCUMENTS} different prompts",
        )
    firsts = ((languages[prompt], 0 if prompt in held_out else lines) for prompt, lines in conversations)
    return Split(corpus, name, PROMPTS, tuple(firsts))


def _count_bytes(line: str) -> int:
    return len(line.encode()) + 1


def _exclude_large(numbers: list[int], sizes: list[_Size]) -> list[int]:
    """Return the documents of a language that are not too large to be held out completely.

    Returns:
        Their numbers in order; none if fewer than MIN_DOCUMENTS remain.
    """
    ordered = sorted(numbers, key=lambda number: sizes[number].size)
    total = sum(sizes[number].size for number in ordered)
    while ordered and sizes[ordered[-1]].size > (1 + TOLERANCE) * VALIDATION_SHARE * total:
        total -= sizes[ordered.pop()].size
    return sorted(ordered) if len(ordered) >= MIN_DOCUMENTS else []


def _draw_documents(language: str, numbers: list[int], sizes: list[int]) -> Iterator[int]:
    """Yield document numbers in a seeded order until their bytes are close to VALIDATION_SHARE."""
    salt = int.from_bytes(hashlib.sha256(language.encode()).digest()[:4], "little")
    goal, taken = VALIDATION_SHARE * sum(sizes), 0
    for place in np.random.default_rng([SPLIT_SEED, salt]).permutation(len(numbers)):
        size = sizes[place]
        if taken + size / 2 <= goal and taken + size <= (1 + TOLERANCE) * goal:
            taken += size
            yield numbers[place]
        elif taken >= (1 - TOLERANCE) * goal:
            return


def _cut_documents(corpus: Path, cut: set[int], sizes: list[_Size]) -> dict[int, tuple[int, int]]:
    """Choose the last tenth of each document.

    A document of a few long lines cannot be cut exactly at a tenth. The next document of its language then
    gives more or less, so that the sum is about right.

    Returns:
        The index of the first held-out line and the held-out bytes of each document, by document number.
    """
    chosen: dict[int, tuple[int, int]] = {}
    missing: dict[str, float] = defaultdict(float)  # bytes still to be held out, by language
    for number, lines in enumerate(read_corpus_documents(corpus)):
        if number not in cut:
            continue
        tenth = VALIDATION_SHARE * sizes[number].size
        missing[sizes[number].language] += tenth
        goal = missing[sizes[number].language]
        ends = [0, *itertools.accumulate(map(_count_bytes, reversed(lines)))]  # bytes of the last n lines
        count = round(len(lines) * VALIDATION_SHARE)
        if not abs(ends[count] - tenth) <= TOLERANCE * tenth:
            count = min(range(len(ends)), key=lambda n: abs(ends[n] - goal))
        missing[sizes[number].language] -= ends[count]
        chosen[number] = len(lines) - count, ends[count]
    return chosen
