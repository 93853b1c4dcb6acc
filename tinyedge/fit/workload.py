"""Amount of work of an answer, in terms that a cost can be fitted to.

In: a shape, the lengths of prompt and answer, whether there is a table of n-grams. Out: amounts by term. Does
not know costs.

The kernels run once for the prompt, once for each later token, and once more for the rest of the
window where the context is full (`core.window`). An amount tells how often a pass does what the term names.
A table of n-grams is mixed with the model in each pass, for the last row only, which a token is drawn from.
"""

import math
from collections.abc import Iterator, Mapping

from tinyedge.core.config import ModelConfig
from tinyedge.core.window import window_start

LINE_BYTES = 64  # that the board's caches move at once
FLOAT_BYTES = 4
INPUT_MULTIPLE = 64  # the kernels pad a row of weights to it
CHUNK_ROWS = 96  # rows of a prompt that pass through the blocks together
PART_ROWS = 12  # rows of them that a part of a block takes at a time
CACHE_BYTES = 512 << 10  # the board's second-level cache: weights that fit are not loaded again
KEPT_LINES = 3000  # of it, still there for the next pass: one reads forwards, the next backwards
REGISTER_INPUTS = (128, 256)  # of an output row, for which the activations stay in registers
KEPT_BYTES = 480 << 10  # of it, what matrices can keep from one part to the next, beside its rows
# Blocks of a table that a token reads for the first time, after one round of the benchmark's prompts: that is
# how a p95 is counted. 4.2 in the first 160 tokens of a process, 1.6 in the next, 0.4 after 800.
FRESH_BLOCKS = 1.6

# Work of a mixture with a table of n-grams, in place of the upper planes and the choice among their bounds.
MIXTURE_CORE_TERMS = {
    "mixed_products": "a multiply-add of the output, all of it",
    "mixed_logits": "the exponential of a logit, its sum with the table, choosing the largest",
    "ngram_blocks": "a block of the table that was not read before: comparing it with its hash",
}
MIXTURE_DRAM_TERMS = {
    "mixed_lines": "a line of the output's weights",
    "mixed_logit_lines": "a line of the logits, or of the table's probabilities of single tokens",
    "ngram_tokens": "finding the n-grams that may follow, and adding them",
}
# Work of a pass that costs cycles of the core. "Batched" is the work of a pass of several rows, a prompt's.
CORE_TERMS = {
    "answers": "tokenizing the prompt, making a cache",
    "passes": "Python around a pass, sampling, text",
    "logits": "choosing the largest, and finishing some",
    "output_products": "a multiply-add of the output's upper planes",
    "wide_output_products": "the same, where a row is too wide for activations to stay in registers",
    "activations": "each number between two products: quantized, scaled, normalized, through GELU",
    "products": "an int8 multiply-add of a block",
    "batched_products": "the same, where there are several rows",
    "attention": "a number of a key, and the one of its value, met by the new row",
    "scores": "a head of the new row looking at a position",
    "batched_attention": "a number of a key, and the one of its value, met by one of several rows",
    "batched_scores": "a head of one of several rows looking at a position",
    **MIXTURE_CORE_TERMS,
}
# Work of a pass that waits for lines from DRAM.
DRAM_TERMS = {
    "answers": "as above",
    "passes": "as above",
    "weight_lines": "a line of the weights or of an upper plane that the cache has not kept",
    "chunk_lines": "a line of the blocks' weights, again for each further chunk of rows",
    "logit_lines": "a line of the logits' bounds",
    "cache_lines": "a line of keys or values",
    "batched_cache_lines": "the same, met by a part of a chunk, where the cache does not hold a block's",
    "part_lines": "a line of the blocks' weights, met by a part of a chunk",
    "reloaded_lines": "the same, where the cache does not hold the matrices that a part passes through",
    **MIXTURE_DRAM_TERMS,
}
# Of DRAM_TERMS: lines of Python's objects and of the table's rows, which nobody reads in order.
RANDOM_TERMS = ("answers", "passes", "ngram_tokens")

Work = Mapping[str, float]


def answer_work(
    config: ModelConfig, prompt_tokens: int, max_tokens: int, *, is_mixed: bool = False
) -> list[Work]:
    """Work of each pass of an answer.

    Args:
        config: The shape of the model.
        prompt_tokens: Length of the prompt, BOS included.
        max_tokens: Tokens of the answer.
        is_mixed: Whether a table of n-grams is mixed with the model.

    Returns:
        One mapping of amounts by term for each pass, the prompt's first.
    """
    first, *others = passes(config.max_seq_length, prompt_tokens, max_tokens)
    return [
        {**pass_work(config, *first, is_mixed=is_mixed), "answers": 1},
        *({**pass_work(config, *other, is_mixed=is_mixed), "answers": 0} for other in others),
    ]


def passes(context: int, prompt_tokens: int, max_tokens: int) -> Iterator[tuple[int, int]]:
    """The passes of an answer; the window slides as at run time.

    Yields:
        Rows of a pass, and the number of positions that its last row sees.
    """
    start = window_start(prompt_tokens, context)
    yield prompt_tokens - start, prompt_tokens - start
    for tokens in range(prompt_tokens + 1, prompt_tokens + max_tokens):
        new_start = window_start(tokens, context)
        yield (tokens - new_start if new_start > start else 1), tokens - new_start
        start = new_start


def pass_work(config: ModelConfig, rows: int, positions: int, *, is_mixed: bool = False) -> dict[str, float]:
    """Work of one pass. Of the last block, all but keys and values is computed for the last row only."""
    earlier_layers, width = config.num_layers - 1, config.nhead * config.head_width
    d_model, attended, feedforward = map(pad_inputs, (config.d_model, width, config.dim_feedforward))
    projection = width * d_model  # of queries, keys or values
    after_attention = (
        config.d_model * attended + config.dim_feedforward * d_model + config.d_model * feedforward
    )
    block = 3 * projection + after_attention
    output = config.vocab_size * d_model
    after_numbers = width + 2 * config.d_model + 2 * config.dim_feedforward  # a row, of a block
    numbers = rows * (earlier_layers * (3 * width + after_numbers) + 3 * width) + after_numbers
    is_batched = rows > 1
    seen = rows * positions - rows * (rows - 1) // 2  # each row sees the positions up to its own
    pairs = earlier_layers * seen + positions  # of a row and a position, over the blocks
    block_lines = config.num_layers * block / LINE_BYTES
    stored = 2 * config.num_layers * width * positions * FLOAT_BYTES / LINE_BYTES  # keys and values
    kept_positions = KEPT_BYTES // (2 * width * FLOAT_BYTES)  # whose keys and values of a block are kept
    reloading = max(0, positions - max(kept_positions, positions - rows))  # rows that see more than these
    mixed_lines = output_lines(config, is_mixed=True) * is_mixed
    reloaded = reloading * positions - reloading * (reloading - 1) // 2
    return {
        "passes": 1,
        "logits": config.vocab_size * (not is_mixed),
        "output_products": output * (not is_mixed),
        "wide_output_products": output * (d_model not in REGISTER_INPUTS and not is_mixed),
        "activations": numbers,
        "products": projection + after_attention if is_batched else config.num_layers * block,
        "batched_products": rows * (earlier_layers * block + 2 * projection) * is_batched,
        "attention": width * pairs * (not is_batched),
        "scores": config.nhead * pairs * (not is_batched),
        "batched_attention": width * pairs * is_batched,
        "batched_scores": config.nhead * pairs * is_batched,
        "weight_lines": loaded_share(config, is_mixed=is_mixed)
        * (read_lines(config, is_mixed=is_mixed) - mixed_lines),
        "chunk_lines": block_lines * ((rows - 1) // CHUNK_ROWS),
        "logit_lines": 2 * FLOAT_BYTES * config.vocab_size / LINE_BYTES * (not is_mixed),
        "cache_lines": stored * (not is_batched),
        "batched_cache_lines": (
            2 * earlier_layers * width * reloaded / PART_ROWS * FLOAT_BYTES / LINE_BYTES * is_batched
        ),
        "part_lines": block_lines * rows / PART_ROWS * is_batched,
        "reloaded_lines": _reloaded_bytes(config) / LINE_BYTES * (math.ceil(rows / PART_ROWS) - 1),
        "mixed_products": output * is_mixed,
        "mixed_logits": config.vocab_size * is_mixed,
        "mixed_logit_lines": 2 * FLOAT_BYTES * config.vocab_size / LINE_BYTES * is_mixed,
        "mixed_lines": loaded_share(config, is_mixed=is_mixed) * mixed_lines,
        "ngram_tokens": int(is_mixed),
        "ngram_blocks": FRESH_BLOCKS * is_mixed,
    }


def read_lines(config: ModelConfig, *, is_mixed: bool = False) -> float:
    """Lines of weights, upper planes and bounds that each pass reads."""
    width = config.nhead * config.head_width
    d_model, attended, feedforward = map(pad_inputs, (config.d_model, width, config.dim_feedforward))
    rows = 3 * width + config.dim_feedforward  # of outputs, whose inputs are d_model
    block = rows * d_model + config.d_model * (attended + feedforward)
    return config.num_layers * block / LINE_BYTES + output_lines(config, is_mixed=is_mixed)


def output_lines(config: ModelConfig, *, is_mixed: bool = False) -> float:
    """Lines of the output's weights; or of their upper planes, what bounds are made of, and the bounds."""
    weights = config.vocab_size * pad_inputs(config.d_model)
    return (weights if is_mixed else weights / 2 + 2 * FLOAT_BYTES * config.vocab_size) / LINE_BYTES


def loaded_share(config: ModelConfig, *, is_mixed: bool = False) -> float:
    """Share of `read_lines` that the cache has not kept from the pass before.

    Upper planes are read forwards and backwards in turn. Weights are read forwards: each line has left the
    cache before it is read again.
    """
    lines = read_lines(config, is_mixed=is_mixed)
    if lines * LINE_BYTES <= CACHE_BYTES:
        return 0.0
    return 1.0 if is_mixed else 1 - KEPT_LINES / lines


def _reloaded_bytes(config: ModelConfig) -> float:
    """Bytes of weights that each further part of a prompt loads again.

    A part passes through the product before attention, and later through those after it. In the last block,
    the rows of a prompt need keys and values only.
    """
    width = config.nhead * config.head_width
    d_model, attended, feedforward = map(pad_inputs, (config.d_model, width, config.dim_feedforward))
    before = 3 * width * d_model
    after = config.d_model * attended + config.dim_feedforward * d_model + config.d_model * feedforward
    earlier_layers = config.num_layers - 1
    passes_of = ((before, earlier_layers), (after, earlier_layers), (2 * width * d_model, 1))
    return sum(layers * size for size, layers in passes_of if size > KEPT_BYTES)


def pad_inputs(inputs: int) -> int:
    """Return the number of inputs that the kernels multiply with, padding included."""
    return -(-inputs // INPUT_MULTIPLE) * INPUT_MULTIPLE
