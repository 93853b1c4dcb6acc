"""The parts of a text: what is learned, what chooses settings, and what judges the result.

In: documents. Out: passages of three parts. Does not know models.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from tinyedge.core.errors import CorpusError
from tinyedge.text.evaluate import Passage, tokenize_document
from tinyedge.text.tokenizer import Tokenizer

LEARNED_SHARE, CHOICE_SHARE = 0.8, 0.1  # of the bytes; the rest judges
MIN_TOKENS = 300  # that choose, and that judge: fewer would say too little
MAX_TOKENS = 4_000  # the same: at 2 ms a token, a board scores both in 16 seconds
MAX_BYTES = 5_000_000  # of a text: each MB takes 30 MB of memory (docs/learn.md)


@dataclass(frozen=True)
class SplitText:
    """A text in three parts, in the order in which it was read."""

    bytes: int
    """Bytes of all parts."""
    learned: tuple[Passage, ...]
    """The first part."""
    choice: tuple[Passage, ...]
    """The second part: settings are chosen on it."""
    judge: tuple[Passage, ...]
    """The last part: nothing has seen it before the figures."""


def read_text(paths: Sequence[Path], report: Callable[[str], None]) -> list[tuple[str, ...]]:
    """Read the lines of each document.

    Args:
        paths: Files and folders, in any format that `tinyedge corpus` reads here.
        report: Receives lines about what was read and skipped.

    Raises:
        CorpusError: There is no text, it cannot be read, or there is too much.
    """
    from tinyedge.corpus.reader import read_documents

    documents, size = [], 0
    for document in read_documents(paths, report):
        documents.append(document.sentences)
        size += sum(len(line.encode()) + 1 for line in document.sentences)
        if size > MAX_BYTES:
            raise CorpusError(
                f"the text has more than {MAX_BYTES / 1e6:.0f} MB, which needs more memory than a board has",
                "pass less text, or train a model with it: tinyedge train --input",
            )
    return documents


def split_text(documents: Iterable[Sequence[str]], tokenizer: Tokenizer) -> SplitText:
    """Split documents between lines: the last tenth judges, the tenth before it chooses.

    Raises:
        CorpusError: The text is too short for that.
    """
    texts = [(lines, [len(line.encode()) + 1 for line in lines]) for lines in documents]
    total = sum(sum(sizes) for _, sizes in texts)
    borders = LEARNED_SHARE * total, (LEARNED_SHARE + CHOICE_SHARE) * total
    parts: tuple[list[Passage], ...] = ([], [], [])
    done = 0
    for lines, sizes in texts:
        divided: tuple[list[str], ...] = ([], [], [])
        for line, size in zip(lines, sizes, strict=True):
            done += size
            divided[sum(done > border for border in borders)].append(line)
        for part, own in zip(parts, divided, strict=True):
            if own:
                part.append(tokenize_document(own, tokenizer))
    shortest = min(sum(len(passage.tokens) for passage in part) for part in parts)
    if shortest < MIN_TOKENS:
        raise CorpusError(
            f"the text has {total:,} bytes, and a tenth of it {shortest} tokens:"
            f" at least {MIN_TOKENS} are needed to judge what was learned",
            "pass more text",
        )
    return SplitText(total, *map(tuple, parts))
