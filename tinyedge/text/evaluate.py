"""Bits per byte: how well a model predicts a text, comparable across tokenizers.

The protocol: a text is its non-blank lines, each BOS, pieces, EOS; a blank line ends a document, and no
context crosses documents. A document is read in windows of the model's context that advance by `stride`
tokens; the first window is scored whole, later ones on the `stride` tokens that are new, so that every
prediction but a document's first has at least `context - stride` tokens before it. Bits of all predicted
tokens (EOS and BOS of the next line included) are divided by the UTF-8 bytes of the lines with one line
break each. An UNK costs the bits of the UNK token; its share is reported, because it hides what it replaced.

Knows no torch: a model is anything with a context that gives logits.
"""

import itertools
import math
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tinyedge.core import files
from tinyedge.core.arrays import Doubles, Logits, TokenIds
from tinyedge.core.errors import CorpusError
from tinyedge.text.tokenizer import UNK_ID, Tokenizer


class LanguageModel(Protocol):
    """What can be evaluated."""

    @property
    def context(self) -> int:
        """Positions the model sees at most."""

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        """Logits after each of the tokens inputs[first:], given all before: (len(inputs) - first, V)."""


@dataclass(frozen=True)
class Passage:
    """A document as tokens. bytes: UTF-8 length of its lines, a line break each."""

    tokens: TokenIds
    bytes: int


@dataclass(frozen=True)
class Window:
    """Tokens to feed, and what to predict: targets[i] follows inputs[first + i]."""

    inputs: TokenIds
    first: int
    targets: TokenIds


@dataclass(frozen=True)
class Quality:
    """How well one text was predicted. tokens: predictions made. unknown: share of UNK among them."""

    name: str
    bits_per_byte: float
    perplexity: float
    tokens: int
    bytes: int
    unknown: float

    @classmethod
    def from_sums(cls, name: str, nats: float, tokens: int, size: int, unknown: int) -> "Quality":
        """From sums: nats over `tokens` predictions, of which `unknown` were UNK, of `size` bytes."""
        return cls(name, nats / math.log(2) / size, math.exp(nats / tokens), tokens, size, unknown / tokens)


def read_passages(path: Path, tokenizer: Tokenizer) -> Iterator[Passage]:
    """A text file's documents, tokenized line by line. Raises CorpusError where it is not UTF-8 text."""
    for lines in read_documents(path):
        yield tokenize_document(lines, tokenizer)


def read_documents(path: Path) -> Iterator[list[str]]:
    """A text file's documents, as lines. Raises CorpusError where it is not UTF-8 text."""
    files.require_file(path, CorpusError)
    lines: list[str] = []
    with path.open("rb") as file:
        offset = 0
        for raw in file:
            try:
                line = unicodedata.normalize("NFC", raw.decode("utf-8")).strip("\ufeff \t\r\n\f")
            except UnicodeDecodeError as failure:
                raise CorpusError(
                    f"{path} is not UTF-8 at byte {offset + failure.start}", "convert it with iconv -t UTF-8"
                ) from None
            offset += len(raw)
            if line:
                lines.append(line)
            elif lines:
                yield lines
                lines = []
    if lines:
        yield lines
    if offset == 0:
        raise CorpusError(f"{path} is empty")


def tokenize_document(lines: Sequence[str], tokenizer: Tokenizer) -> Passage:
    """One document's lines as tokens, BOS ... EOS each."""
    tokens = itertools.chain.from_iterable(tokenizer.encode_lines(lines))
    size = sum(len(line.encode("utf-8")) + 1 for line in lines)
    return Passage(np.fromiter(tokens, dtype=np.uint16), size)


def split_windows(tokens: TokenIds, context: int, stride: int) -> Iterator[Window]:
    """Cuts one document into windows that together predict each token but the first exactly once."""
    scored = 0  # tokens[: scored + 1] are predicted or given
    while scored < len(tokens) - 1:
        end = min(context if scored == 0 else scored + stride, len(tokens) - 1)
        start = max(0, end - context)
        yield Window(tokens[start:end], scored - start, tokens[scored + 1 : end + 1])
        scored = end


def negative_log_likelihood(logits: Logits, targets: TokenIds) -> Doubles:
    """-ln p(target) at each position: (T, V) and (T,) to (T,). Exponentials in single, sums in double."""
    highest = logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(logits - highest).sum(axis=1, dtype=np.float64)) + highest[:, 0]
    return np.asarray(log_total - logits[np.arange(len(targets)), targets], dtype=np.float64)


def default_stride(context: int) -> int:
    """Half the context: every prediction has at least half of it, at twice the cost of none."""
    return max(1, context // 2)


def evaluate(
    name: str, model: LanguageModel, passages: Iterable[Passage], stride: int | None = None
) -> Quality:
    """Bits per byte and perplexity of `model` on `passages`.

    Raises CorpusError when there is nothing to predict.
    """
    total, count, size, unknown = 0.0, 0, 0, 0
    for passage in passages:
        size += passage.bytes
        for window in split_windows(passage.tokens, model.context, stride or default_stride(model.context)):
            total += float(
                negative_log_likelihood(model.logits(window.inputs, window.first), window.targets).sum()
            )
            count += len(window.targets)
            unknown += int((window.targets == UNK_ID).sum())
    if not count:
        raise CorpusError(f"text {name} has nothing to predict", "give a file with a sentence in it")
    return Quality.from_sums(name, total, count, size, unknown)
