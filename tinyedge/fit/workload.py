"""Amount of work of an answer, in terms that a cost can be fitted to.

In: a shape, the lengths of prompt and answer. Out: amounts by term. Does not know costs.

The device's graph runs once for the prompt, once for each later token, and once more for the rest of the
window where the context is full (`core.window`). An amount tells how often a pass does what the term names.
"""

from collections.abc import Iterator, Mapping

from tinyedge.core.config import ModelConfig
from tinyedge.core.window import window_start

LINE_BYTES = 64  # that the board's caches move at once
FLOAT_BYTES = 4
STRIP_ROWS = 4  # rows that ONNX Runtime's int8 kernel computes together; fewer cost as much

# Work of a pass that costs instructions. "Batched" is the work of a pass of several rows, a prompt's.
INSTRUCTION_TERMS = {
    "answers": "tokenizing the prompt, making a cache",
    "passes": "Python around a pass, sampling, text",
    "layers": "the nodes of a block, whatever they compute",
    "batched_layers": "the same once more, where there are several rows",
    "logits": "scaling each, and finding the largest",
    "activations": "each number between two nodes: quantized, scaled, normalized, through GELU",
    "products": "an int8 multiply-add",
    "batched_products": "an int8 multiply-add, rows rounded up to strips of four",
    "attention": "a number of a key, and the one of its value, met by the new row",
    "scores": "a head of the new row looking at a position",
    "batched_attention": "a number of a key, and the one of its value, met by one of several rows",
    "batched_scores": "a head of one of several rows looking at a position",
}
# Work of a pass that loads lines from DRAM.
FILL_TERMS = {
    "answers": "as above",
    "passes": "as above",
    "weight_lines": "a line of weights, each once a pass: the cache does not hold them all",
    "logit_lines": "a line of logits",
    "cache_lines": "a line of keys or values",
    "batched_activation_lines": "a line of numbers between two nodes",
    "batched_score_lines": "a line of scores",
    "batched_products": "as above: weights and rows that meet again",
}

Work = Mapping[str, float]


def answer_work(config: ModelConfig, prompt_tokens: int, max_tokens: int) -> list[Work]:
    """Work of each pass of an answer.

    Args:
        config: The shape of the model.
        prompt_tokens: Length of the prompt, BOS included.
        max_tokens: Tokens of the answer.

    Returns:
        One mapping of amounts by term for each pass, the prompt's first.
    """
    first, *others = passes(config.max_seq_length, prompt_tokens, max_tokens)
    return [
        {**pass_work(config, *first), "answers": 1},
        *({**pass_work(config, *other), "answers": 0} for other in others),
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


def pass_work(config: ModelConfig, rows: int, positions: int) -> dict[str, float]:
    """Work of one pass. Of the last block, all but attention is computed for the last row only."""
    layers, width = config.num_layers, config.nhead * config.head_width
    after_attention = config.d_model * width + 2 * config.d_model * config.dim_feedforward
    block = 3 * config.d_model * width + after_attention
    output = config.d_model * config.vocab_size
    narrow = 2 * config.d_model + 2 * config.dim_feedforward  # numbers a row, of a block after its attention
    numbers = rows * (layers * (4 * width + narrow) - narrow) + narrow
    is_batched = rows > 1
    strip_rows = -(-rows // STRIP_ROWS) * STRIP_ROWS
    attention = layers * width * rows * positions
    scores = layers * config.nhead * rows * positions
    return {
        "passes": 1,
        "layers": layers,
        "batched_layers": layers * is_batched,
        "logits": config.vocab_size,
        "activations": numbers,
        "products": (after_attention if is_batched else layers * block) + output,
        "batched_products": strip_rows * (layers * block - after_attention) * is_batched,
        "attention": attention * (not is_batched),
        "scores": scores * (not is_batched),
        "batched_attention": attention * is_batched,
        "batched_scores": scores * is_batched,
        "weight_lines": (layers * block + output) / LINE_BYTES,
        "logit_lines": config.vocab_size * FLOAT_BYTES / LINE_BYTES,
        "cache_lines": 2 * attention * FLOAT_BYTES / LINE_BYTES * (not is_batched),
        "batched_activation_lines": numbers * FLOAT_BYTES / LINE_BYTES * is_batched,
        "batched_score_lines": scores * FLOAT_BYTES / LINE_BYTES * is_batched,
    }


def count_block_parameters(config: ModelConfig) -> int:
    """Weights of the blocks: all but embeddings and output, whose number depends on the vocabulary."""
    tables = 2 * config.vocab_size * config.d_model + config.max_seq_length * config.d_model
    return config.parameters - tables
