"""How much there is to do for an answer, in terms that a cost can be fitted to.

In: a shape, and how long the prompt and the answer are. Out: amounts by name. Knows no costs.

The device's graph runs once for the prompt, once for each later token, and once more for the rest of the
window where the context is full (`core.window`). A term is something that a pass does, and how often.
"""

from collections.abc import Iterator, Mapping

from tinyedge.core.config import ModelConfig
from tinyedge.core.window import window_start

LINE = 64  # bytes that the board's caches move at once
FLOAT = 4  # bytes
STRIP = 4  # rows that ONNX Runtime's int8 kernel takes together; fewer cost as much

# What of a pass costs instructions. "Batched" is what a pass of several rows does, a prompt's.
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
# What of a pass costs lines from DRAM.
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


def answer(config: ModelConfig, prompt_tokens: int, max_tokens: int) -> list[Work]:
    """The work of each pass of an answer of `max_tokens` tokens; prompt_tokens: with BOS."""
    first, *others = passes(config.max_seq_length, prompt_tokens, max_tokens)
    return [
        {**pass_work(config, *first), "answers": 1},
        *({**pass_work(config, *other), "answers": 0} for other in others),
    ]


def passes(context: int, prompt_tokens: int, max_tokens: int) -> Iterator[tuple[int, int]]:
    """Rows of each pass, and the positions that its last row sees; the window slides as at run time."""
    start = window_start(prompt_tokens, context)
    yield prompt_tokens - start, prompt_tokens - start
    for tokens in range(prompt_tokens + 1, prompt_tokens + max_tokens):
        moved = window_start(tokens, context)
        yield (tokens - moved if moved > start else 1), tokens - moved
        start = moved


def pass_work(config: ModelConfig, rows: int, positions: int) -> dict[str, float]:
    """The work of one pass. Of the last block, attention alone is computed for more rows than the last."""
    layers, width = config.num_layers, config.nhead * config.head_width
    after_attention = config.d_model * width + 2 * config.d_model * config.dim_feedforward
    block = 3 * config.d_model * width + after_attention
    output = config.d_model * config.vocab_size
    narrow = 2 * config.d_model + 2 * config.dim_feedforward  # numbers a row, of a block after its attention
    numbers = rows * (layers * (4 * width + narrow) - narrow) + narrow
    batched = rows > 1
    strips = -(-rows // STRIP) * STRIP
    met = layers * width * rows * positions
    scores = layers * config.nhead * rows * positions
    return {
        "passes": 1,
        "layers": layers,
        "batched_layers": layers * batched,
        "logits": config.vocab_size,
        "activations": numbers,
        "products": (after_attention if batched else layers * block) + output,
        "batched_products": strips * (layers * block - after_attention) * batched,
        "attention": met * (not batched),
        "scores": scores * (not batched),
        "batched_attention": met * batched,
        "batched_scores": scores * batched,
        "weight_lines": (layers * block + output) / LINE,
        "logit_lines": config.vocab_size * FLOAT / LINE,
        "cache_lines": 2 * met * FLOAT / LINE * (not batched),
        "batched_activation_lines": numbers * FLOAT / LINE * batched,
        "batched_score_lines": scores * FLOAT / LINE * batched,
    }


def parameters_of_blocks(config: ModelConfig) -> int:
    """Weights that think: all but embeddings and output, whose number the vocabulary decides."""
    tables = 2 * config.vocab_size * config.d_model + config.max_seq_length * config.d_model
    return config.parameters - tables
