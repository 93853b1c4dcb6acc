"""Bits per byte: how well a model predicts a text, comparable across tokenizers.

Protocol: a text consists of its non-blank lines, each encoded as BOS, pieces, EOS. A blank line ends a
document, and no context crosses a document boundary. A document is read in windows of the model's context
that advance by `stride` tokens. The first window is scored completely, later windows only on their `stride`
new tokens. So every prediction, except those in the first window of a document, has at least
`context - stride` tokens before it. The bits of all predicted tokens (EOS and the BOS of the next line
included) are divided by the UTF-8 bytes of the lines with one line break each.

UNK does not identify the text that it replaces, and a run of unknown characters is one UNK. To be complete, a
code must also send that text. So each byte behind UNK costs 8 bits in addition to the UNK token's own bits:
log2(256), the cost of a byte about which nothing is known. Without this charge a vocabulary that drops text
would get better figures than one that keeps it. Perplexity and loss are means over tokens and do not contain
the charge.

In: text files or tokenized documents, and a model. Out: Quality. Does not know torch: a model is any object
with a context that returns logits.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from tinyedge.core.arrays import Doubles, Logits, TokenIds
from tinyedge.core.errors import CorpusError
from tinyedge.text.tokenizer import UNK_ID, Tokenizer
from tinyedge.text.windows import Window as Window
from tinyedge.text.windows import split_completions
from tinyedge.text.windows import split_windows as split_windows

UNKNOWN_BYTE_BITS = 8.0  # log2(256)
# Share of a text's bytes behind UNK above which bits per byte depend on the charge more than on the model: at
# 1% the charge is 0.08 bits per byte, about 4% of what a good model needs. Text like the training text has
# 0.01%.
MAX_UNKNOWN_SHARE = 0.01


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
    """UTF-8 length of the scored lines, with one line break each."""

    unknown_bytes: int = 0
    """Number of these bytes that are behind UNK."""

    is_conversation: bool = False
    """Whether it is a conversation, of which only the completions are scored; then the bytes are theirs."""

    def windows(self, context: int, stride: int) -> Iterator[Window]:
        """Return the windows that score the document; none for a conversation longer than the context.

        Args:
            context: Largest number of inputs in a window.
            stride: Number of new targets in each window of a text after its first.
        """
        if self.is_conversation:
            return split_completions(self.tokens, context)
        return split_windows(self.tokens, context, stride)


@dataclass(frozen=True)
class Quality:
    """How well a model predicted one text."""

    name: str
    """Name of the text."""

    bits_per_byte: float
    """Bits of all predicted tokens and of the bytes behind UNK, divided by the bytes of the text."""

    perplexity: float
    """Exponential of the mean loss per token, without the bytes behind UNK."""

    tokens: int
    """Number of predicted tokens."""

    bytes: int
    """UTF-8 length of the text."""

    unknown: float
    """Share of UNK among the predicted tokens, 0-1."""

    unknown_bytes: float = 0.0
    """Share of the text's bytes that are behind UNK, 0-1."""

    @classmethod
    def from_sums(
        cls, name: str, nats: float, tokens: int, size: float, unknown: int, unknown_bytes: float = 0
    ) -> "Quality":
        """Create the result from sums over a text.

        Args:
            name: Name of the text.
            nats: Negative log-likelihood of all predicted tokens.
            tokens: Number of predicted tokens.
            size: UTF-8 length of the text in bytes.
            unknown: Number of predicted tokens that are UNK.
            unknown_bytes: Number of bytes behind UNK.
        """
        return cls(
            name,
            to_bits_per_byte(nats, size, unknown_bytes),
            math.exp(nats / tokens),
            tokens,
            round(size),
            unknown / tokens,
            unknown_bytes / size,
        )


def to_bits_per_byte(nats: float, size: float, unknown_bytes: float) -> float:
    """Convert the loss on a text to bits per byte, with UNKNOWN_BYTE_BITS for each byte behind UNK.

    Args:
        nats: Negative log-likelihood of all predicted tokens.
        size: Bytes of the text.
        unknown_bytes: Number of these that are behind UNK.
    """
    return nats / math.log(2) / size + UNKNOWN_BYTE_BITS * unknown_bytes / size


def describe_unknown(shares: Mapping[str, float]) -> str:
    """Describe the texts whose share of bytes behind UNK is above MAX_UNKNOWN_SHARE; "" if there is none.

    Args:
        shares: Share of bytes behind UNK, 0-1, by the name of the text.
    """
    high = [f"{100 * share:.1f}% of {name}" for name, share in shares.items() if share > MAX_UNKNOWN_SHARE]
    if not high:
        return ""
    return (
        f"the vocabulary lacks the characters of {', '.join(high)} (bytes behind UNK): each of these bytes"
        f" counts as {UNKNOWN_BYTE_BITS:g} bits, and the model can never write them"
    )


def read_passages(
    path: Path, tokenizer: Tokenizer, report: Callable[[str], None] = lambda line: None
) -> Iterator[Passage]:
    """Read the documents of a file as `tinyedge corpus` reads them, and tokenize them line by line.

    Args:
        path: A file or a folder, in any format that `tinyedge corpus` reads.
        tokenizer: The model's tokenizer.
        report: Receives lines about what was skipped.

    Raises:
        CorpusError: There is no text, or it cannot be read.
    """
    for lines in read_lines_by_document(path, report):
        yield tokenize_document(lines, tokenizer)


def read_lines_by_document(
    path: Path, report: Callable[[str], None] = lambda line: None
) -> Iterator[tuple[str, ...]]:
    """Read the documents of a file as `tinyedge corpus` reads them: the sentences of each document.

    Raises:
        CorpusError: There is no text, or it cannot be read.
    """
    from tinyedge.corpus.reader import read_documents  # not needed by programs that only load this module

    for document in read_documents([path], report):
        yield document.sentences


def tokenize_document(lines: Sequence[str], tokenizer: Tokenizer) -> Passage:
    """Tokenize the lines of one document, each as BOS ... EOS."""
    encoded = tokenizer.encode_lines(lines)
    size = sum(len(line.encode("utf-8")) + 1 for line in lines)
    with_unknown = (line for line, ids in zip(lines, encoded, strict=True) if UNK_ID in ids)
    unknown_bytes = sum(map(tokenizer.count_unknown_bytes, with_unknown))
    tokens = np.fromiter(itertools.chain.from_iterable(encoded), dtype=np.uint16)
    return Passage(tokens, size, unknown_bytes)


def tokenize_conversation(turns: Sequence[str], tokenizer: Tokenizer) -> Passage:
    """Tokenize prompt, completion, prompt, completion, and so on, in the template of `text.turns`."""
    encoded = tokenizer.encode_lines(turns)
    for prompt in encoded[::2]:
        prompt.pop()  # the EOS that ends a line
    tokens = np.fromiter(itertools.chain.from_iterable(encoded), dtype=np.uint16)
    completions = turns[1::2]
    size = sum(len(turn.encode("utf-8")) + 1 for turn in completions)
    return Passage(tokens, size, sum(map(tokenizer.count_unknown_bytes, completions)), is_conversation=True)


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
    total, count, size, unknown, unknown_bytes = 0.0, 0, 0, 0, 0
    for passage in passages:
        windows = list(passage.windows(model.context, stride or default_stride(model.context)))
        if not windows:  # a conversation longer than the context
            continue
        size += passage.bytes
        unknown_bytes += passage.unknown_bytes
        for window in windows:
            logits = model.logits(window.inputs, window.first)
            total += float(negative_log_likelihood(logits, window.targets).sum())
            count += len(window.targets)
            unknown += int((window.targets == UNK_ID).sum())
    if not count:
        raise CorpusError(f"text {name} has nothing to predict", "give a file with a sentence in it")
    return Quality.from_sums(name, total, count, size, unknown, unknown_bytes)
