"""Bits per byte: how well a model predicts a text, comparable across tokenizers.

Protocol: a text consists of its non-blank lines, each encoded as BOS, pieces, EOS. A blank line ends a
document, and no context crosses a document boundary. A document is read in windows of the model's context
that advance by `stride` tokens. The first window is scored completely, later windows only on their `stride`
new tokens. So every prediction, except those in the first window of a document, has at least
`context - stride` tokens before it. The bits of all predicted tokens (EOS and the BOS of the next line
included) are divided by the UTF-8 bytes of the lines with one line break each. An UNK costs the bits of the
UNK token; the share of UNK is reported, because UNK hides the text that it replaced.

In: text files or tokenized documents, and a model. Out: Quality. Does not know torch: a model is any object
with a context that returns logits.
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
    """A model that can be evaluated."""

    @property
    def context(self) -> int:
        """Largest number of positions that the model sees."""

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        """Compute the logits after each of the tokens `inputs[first:]`, given all tokens before.

        Returns:
            Logits, (len(inputs) - first, V).
        """


@dataclass(frozen=True)
class Passage:
    """A tokenized document."""

    tokens: TokenIds
    """Token ids of all lines, (T,)."""

    bytes: int
    """UTF-8 length of the lines, with one line break each."""


@dataclass(frozen=True)
class Window:
    """Tokens to feed and tokens to predict: `targets[i]` follows `inputs[first + i]`."""

    inputs: TokenIds
    """Tokens to feed, at most the model's context."""

    first: int
    """Index of the first input whose next token is scored."""

    targets: TokenIds
    """Tokens to predict."""


@dataclass(frozen=True)
class Quality:
    """How well a model predicted one text."""

    name: str
    """Name of the text."""

    bits_per_byte: float
    """Bits of all predicted tokens, divided by the bytes of the text."""

    perplexity: float
    """Exponential of the mean loss per token."""

    tokens: int
    """Number of predicted tokens."""

    bytes: int
    """UTF-8 length of the text."""

    unknown: float
    """Share of UNK among the predicted tokens, 0-1."""

    @classmethod
    def from_sums(cls, name: str, nats: float, tokens: int, size: int, unknown: int) -> "Quality":
        """Create the result from sums over a text.

        Args:
            name: Name of the text.
            nats: Negative log-likelihood of all predicted tokens.
            tokens: Number of predicted tokens.
            size: UTF-8 length of the text in bytes.
            unknown: Number of predicted tokens that are UNK.
        """
        return cls(name, nats / math.log(2) / size, math.exp(nats / tokens), tokens, size, unknown / tokens)


def read_passages(path: Path, tokenizer: Tokenizer) -> Iterator[Passage]:
    """Read the documents of a text file and tokenize them line by line.

    Raises:
        CorpusError: The file is missing, empty or not UTF-8 text.
    """
    for lines in read_documents(path):
        yield tokenize_document(lines, tokenizer)


def read_documents(path: Path) -> Iterator[list[str]]:
    """Read the documents of a text file as lists of lines, in NFC.

    Raises:
        CorpusError: The file is missing, empty or not UTF-8 text.
    """
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
    """Tokenize the lines of one document, each as BOS ... EOS."""
    tokens = itertools.chain.from_iterable(tokenizer.encode_lines(lines))
    size = sum(len(line.encode("utf-8")) + 1 for line in lines)
    return Passage(np.fromiter(tokens, dtype=np.uint16), size)


def split_windows(tokens: TokenIds, context: int, stride: int) -> Iterator[Window]:
    """Split one document into windows that together predict each token except the first exactly once.

    Args:
        tokens: The document, (T,).
        context: Largest number of inputs in a window.
        stride: Number of new targets in each window after the first, at most `context`.
    """
    scored = 0  # tokens[: scored + 1] are already predicted or given
    while scored < len(tokens) - 1:
        end = min(context if scored == 0 else scored + stride, len(tokens) - 1)
        start = max(0, end - context)
        yield Window(tokens[start:end], scored - start, tokens[scored + 1 : end + 1])
        scored = end


def negative_log_likelihood(logits: Logits, targets: TokenIds) -> Doubles:
    """Compute -ln p(target) at each position, in nats.

    Exponentials are computed in single precision, sums in double precision.

    Args:
        logits: (T, V).
        targets: (T,).

    Returns:
        The loss at each position, (T,).
    """
    highest = logits.max(axis=1, keepdims=True)
    log_total = np.log(np.exp(logits - highest).sum(axis=1, dtype=np.float64)) + highest[:, 0]
    return np.asarray(log_total - logits[np.arange(len(targets)), targets], dtype=np.float64)


def default_stride(context: int) -> int:
    """Return half the context.

    Later windows then have at least half a context before each prediction, at twice the cost of no overlap.
    """
    return max(1, context // 2)


def evaluate(
    name: str, model: LanguageModel, passages: Iterable[Passage], stride: int | None = None
) -> Quality:
    """Compute bits per byte and perplexity of a model on a text.

    Args:
        name: Name of the text.
        model: The model to evaluate.
        passages: The documents of the text.
        stride: Tokens by which windows advance; `default_stride` if None.

    Raises:
        CorpusError: The text has no token to predict.
    """
    total, count, size, unknown = 0.0, 0, 0, 0
    for passage in passages:
        size += passage.bytes
        for window in split_windows(passage.tokens, model.context, stride or default_stride(model.context)):
            logits = model.logits(window.inputs, window.first)
            total += float(negative_log_likelihood(logits, window.targets).sum())
            count += len(window.targets)
            unknown += int((window.targets == UNK_ID).sum())
    if not count:
        raise CorpusError(f"text {name} has nothing to predict", "give a file with a sentence in it")
    return Quality.from_sums(name, total, count, size, unknown)
