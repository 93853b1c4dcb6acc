"""A table of n-grams without a model: how long it takes to count, and how well it predicts.

In: a run's token files, or a table; texts. Out: seconds, and bits per byte in the windows in which
`tinyedge.text.evaluate` scores a model.
"""

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tinyedge.core.runs import ALL
from tinyedge.export.ngram_table import MB, build_table, read_training_tokens
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.scorer import TableScorer
from tinyedge.ngram.table import NgramTable
from tinyedge.ngram.weights import predict_with_table
from tinyedge.ngram.write import encode_table
from tinyedge.text.evaluate import Passage, default_stride, read_passages, to_bits_per_byte
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer


@dataclass(frozen=True)
class CountedTable:
    """A table, and what it took to count it."""

    file: NgramFile
    """The table."""
    seconds: float
    """From the training tokens to the content of the file."""
    tokens: int
    """Tokens that were counted."""


def count_table(shards: Shards, vocab_size: int, order: int, ngram_mb: float) -> CountedTable:
    """Count a table as `tinyedge export` does.

    Args:
        shards: The token files of a run.
        vocab_size: Number of tokens of the vocabulary.
        order: Tokens in the longest n-gram.
        ngram_mb: Largest size of the table in MB.
    """
    started = time.monotonic()
    tokens = read_training_tokens(shards.training())
    content = encode_table(build_table(tokens, vocab_size, order, int(ngram_mb * MB)))
    return CountedTable(NgramFile(content), time.monotonic() - started, sum(map(len, tokens)))


def measure_held_out(file: NgramFile, shards: Shards, context: int) -> dict[str, float]:
    """Compute the bits per byte of held-out text, by language and for all, as each epoch of a run does.

    Args:
        file: The table.
        shards: The token files with the held-out text.
        context: Tokens in a window; windows do not overlap.
    """
    scorer = TableScorer(NgramTable(file))
    sums = {
        language: _sum_up(scorer, shards.validation_passages(language), context, context)
        for language in shards.languages
    }
    nats, sizes, unknown = zip(*sums.values(), strict=True)
    return {
        ALL: to_bits_per_byte(sum(nats), sum(sizes), sum(unknown)),
        **{language: to_bits_per_byte(*found) for language, found in sums.items()},
    }


def measure_texts(
    file: NgramFile, texts: Mapping[str, Path], tokenizer: Tokenizer, context: int
) -> dict[str, float]:
    """Compute the bits per byte of text files by name, in the windows of `tinyedge eval`."""
    scorer = TableScorer(NgramTable(file))
    return {
        name: to_bits_per_byte(
            *_sum_up(scorer, read_passages(path, tokenizer), context, default_stride(context))
        )
        for name, path in texts.items()
    }


def _sum_up(
    scorer: TableScorer, passages: Iterable[Passage], context: int, stride: int
) -> tuple[float, int, int]:
    """Return nats, bytes, and bytes behind UNK of some passages."""
    nats, size, unknown_bytes = 0.0, 0, 0
    for passage in passages:
        windows = list(passage.windows(context, stride))
        if windows:
            nats -= float(np.log(predict_with_table(scorer, windows)[0]).sum())
            size += passage.bytes
            unknown_bytes += passage.unknown_bytes
    return nats, size, unknown_bytes
