"""Which work of a pass the kernels divide among several threads, and how evenly.

In: a shape, rows and positions of a pass, a number of threads. Out: the amounts of `workload` in parts: what
one thread does, and what several divide. Does not know costs.

The rules are those of `export/kernels/c` (decoder.c, matrix.c, planes.c):
- the rows of a prompt are divided, for a whole block at a time, if each thread gets three of them;
- of fewer rows, each product is divided by its outputs, and attention by its heads, if a piece is 128 kB;
- the upper planes of the output are always divided, by rows of the vocabulary;
- with a table of n-grams, the output is a product like any other.
Everything else is the work of one thread: Python, choosing the largest logits, norms of a single row.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tinyedge.core.config import ModelConfig
from tinyedge.fit.workload import (
    CHUNK_ROWS,
    FLOAT_BYTES,
    LINE_BYTES,
    Work,
    loaded_share,
    output_lines,
    pad_inputs,
    pass_work,
)

PIECE_BYTES = 131072  # BYTES_PER_PIECE of matrix.c
PIECE_ROWS = 3  # ROWS_PER_PIECE of decoder.c
PANEL = 16  # FLOAT_PANEL: pieces of a product are whole panels of outputs
VOCABULARY_BLOCK = 64  # BLOCK of planes.c: pieces of the vocabulary are whole blocks
BLOCK_TERMS = (
    "products",
    "batched_products",
    "chunk_lines",
    "part_lines",
    "reloaded_lines",
)  # shared as their matrix is
ATTENTION_TERMS = (
    *("attention", "scores", "cache_lines"),
    *("batched_attention", "batched_scores", "batched_cache_lines"),
)
OUTPUT_TERMS = ("output_products", "wide_output_products", "logit_lines", "mixed_products", "mixed_lines")


@dataclass(frozen=True)
class SharedWork:
    """Work that threads divide, between two moments at which they wait for each other."""

    work: Work
    """Amounts of all threads together, by term."""
    ways: float
    """All of it divided by that of the busiest thread."""
    forks: int
    """How often the threads are woken for it."""


def split_pass(
    config: ModelConfig, rows: int, positions: int, threads: int, *, is_mixed: bool = False
) -> tuple[dict[str, float], list[SharedWork]]:
    """Split the work of a pass, which `pass_work` describes.

    Args:
        config: The shape of the model.
        rows: Rows of the pass.
        positions: Number of positions that its last row sees.
        threads: Threads that compute it.
        is_mixed: Whether a table of n-grams is mixed with the model.

    Returns:
        What one thread does, and what several divide; together they are the work of the pass.
    """
    serial = pass_work(config, rows, positions, is_mixed=is_mixed)
    shared = list(_shared_parts(config, rows, positions, threads, serial)) if threads > 1 else []
    for part in shared:
        for term, amount in part.work.items():
            serial[term] = max(0.0, serial[term] - amount)  # the rest of a difference of floats is no work
    return serial, shared


def _shared_parts(
    config: ModelConfig, rows: int, positions: int, threads: int, total: Work
) -> Iterator[SharedWork]:
    if rows // PIECE_ROWS > 1:
        divided = _divide_rows(config, rows, positions, threads, total)
        yield divided
        last_row = {term: total[term] - divided.work.get(term, 0.0) for term in total}
        yield from _divide_products(config, _matrices(config)[1:], 1, threads, last_row)
        yield from _divide_attention(config, 1, positions, threads, last_row, blocks=1)
    else:
        yield from _divide_products(config, _matrices(config), config.num_layers, threads, total)
        yield from _divide_attention(config, rows, positions, threads, total, blocks=config.num_layers)
    yield from _divide_output(config, threads, total)


def _divide_rows(config: ModelConfig, rows: int, positions: int, threads: int, total: Work) -> SharedWork:
    """All blocks, except what follows attention in the last one: only the last row needs that."""
    width = config.nhead * config.head_width
    after = sum(outputs * inputs for outputs, inputs in _matrices(config)[1:])
    is_mixed = bool(total["ngram_tokens"])
    later_lines = loaded_share(config, is_mixed=is_mixed) * (
        after / LINE_BYTES + output_lines(config) * (not is_mixed)
    )
    work = {
        **{term: total[term] for term in ("batched_products", "chunk_lines", "part_lines", "reloaded_lines")},
        "products": total["products"] - after,
        "activations": total["activations"] - (width + 2 * config.d_model + 2 * config.dim_feedforward),
        "weight_lines": total["weight_lines"] - later_lines,
        "batched_attention": total["batched_attention"] - width * positions,
        "batched_scores": total["batched_scores"] - config.nhead * positions,
        "batched_cache_lines": total["batched_cache_lines"],
    }
    chunks = [min(CHUNK_ROWS, rows - first) for first in range(0, rows, CHUNK_ROWS)]
    busiest = sum(math.ceil(chunk / max(1, min(chunk // PIECE_ROWS, threads))) for chunk in chunks)
    forks = config.num_layers * sum(chunk // PIECE_ROWS > 1 for chunk in chunks)
    return SharedWork(work, rows / busiest, forks)


def _divide_products(
    config: ModelConfig, matrices: Sequence[tuple[int, int]], blocks: int, threads: int, total: Work
) -> Iterator[SharedWork]:
    """Products of few rows with these matrices, in a number of blocks."""
    weights = sum(outputs * inputs for outputs, inputs in matrices)
    for outputs, inputs in matrices:
        pieces = min(outputs * inputs // PIECE_BYTES, threads)
        if pieces > 1:
            work = {term: total[term] * outputs * inputs / weights for term in BLOCK_TERMS}
            share = loaded_share(config, is_mixed=bool(total["ngram_tokens"]))
            work["weight_lines"] = share * blocks * outputs * inputs / LINE_BYTES
            yield SharedWork(work, outputs / _piece(outputs, pieces, PANEL), blocks)


def _divide_attention(
    config: ModelConfig, rows: int, positions: int, threads: int, total: Work, blocks: int
) -> Iterator[SharedWork]:
    """Attention of few rows, in a number of blocks."""
    width = config.nhead * config.head_width
    pieces = min(rows * positions * 2 * width * FLOAT_BYTES // PIECE_BYTES, threads, config.nhead)
    if pieces > 1:
        work = {term: total[term] for term in ATTENTION_TERMS}
        yield SharedWork(work, config.nhead / math.ceil(config.nhead / pieces), blocks)


def _divide_output(config: ModelConfig, threads: int, total: Work) -> Iterator[SharedWork]:
    is_mixed = bool(total["ngram_tokens"])
    work = {term: total[term] for term in OUTPUT_TERMS}
    pieces, unit = threads, VOCABULARY_BLOCK
    if not is_mixed:
        work["weight_lines"] = loaded_share(config) * output_lines(config)
    else:
        pieces, unit = min(config.vocab_size * pad_inputs(config.d_model) // PIECE_BYTES, threads), PANEL
    if pieces > 1:
        yield SharedWork(work, config.vocab_size / _piece(config.vocab_size, pieces, unit), 1)


def _matrices(config: ModelConfig) -> tuple[tuple[int, int], ...]:
    """Outputs and padded inputs of a block's products, in their order."""
    width = config.nhead * config.head_width
    d_model, attended, feedforward = map(pad_inputs, (config.d_model, width, config.dim_feedforward))
    return (
        (3 * width, d_model),
        (config.d_model, attended),
        (config.dim_feedforward, d_model),
        (config.d_model, feedforward),
    )


def _piece(count: int, pieces: int, unit: int) -> int:
    """Size of the largest piece, a multiple of `unit`."""
    return min(count, math.ceil(count / pieces / unit) * unit)
