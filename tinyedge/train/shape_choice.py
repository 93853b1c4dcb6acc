"""The largest shape that a run can train: more weights need more tokens.

In: the run's text and time, and shapes that its board can run. Out: one of them. Does not know boards.

A model with too many weights for its tokens is worse than a smaller one. Hoffmann et al., "Training
compute-optimal large language models" (2022), found about 20 tokens for each weight, tables included. Here it
is 10 for each weight of the blocks, as the tables of 8,000 pieces have more weights than the blocks.
"""

from tinyedge.core.config import ModelConfig
from tinyedge.core.settings import flag
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.distributed import SINGLE_PROCESS
from tinyedge.train.model import TinyTransformer
from tinyedge.train.report.reporter import Reporter
from tinyedge.train.run_request import RunRequest
from tinyedge.train.teachers import limit_run, make_teacher_shape

TOKENS_PER_WEIGHT = 10  # of the blocks
STEPS_SHARE = 0.75  # of a run's time; the rest is the full softmax of its end, validation and saving
TIMED_STEPS = 3


def choose_shape(
    request: RunRequest, tokenizer: Tokenizer, shards: Shards, reporter: Reporter, recorded: object = None
) -> ModelConfig:
    """Choose a run's shape: `request.model`, or the largest of `request.list_shapes` that it can train.

    A run keeps its shape, also if the machine is faster or slower when it is resumed or repeated.

    Args:
        request: What to train, and for how long.
        tokenizer: The run's tokenizer.
        shards: The run's token files.
        reporter: Receives a note of the choice.
        recorded: The shape that the run's folder records, as in `ModelConfig.to_dict`; None if it is new.
    """
    if request.list_shapes is None:
        return request.model
    shapes = request.list_shapes(tokenizer.vocab_size)
    for shape in shapes:
        if shape.to_dict() == recorded:
            return shape
    minutes = limit_run(request).max_minutes
    tokens = float(request.training.epochs * shards.train_tokens)
    first, last = 0, len(shapes) - 1
    if minutes is not None:
        reporter.phase("measuring how fast each shape trains")
    while first < last:  # the larger a shape, the fewer tokens it sees in the run's time
        middle = (first + last + 1) // 2
        seen = tokens
        if minutes is not None:
            shape = shapes[middle]
            teacher = TinyTransformer(make_teacher_shape(shape)) if request.training.teachers else None
            trainer = request.with_shape(shape).make_trainer(
                tokenizer, shards, reporter, SINGLE_PROCESS, teacher
            )
            seen = min(tokens, STEPS_SHARE * 60 * minutes * trainer.measure_speed(TIMED_STEPS))
        if seen >= TOKENS_PER_WEIGHT * shapes[middle].block_parameters:
            first = middle
        else:
            last = middle - 1
    reporter.note(f"shape: {_format_flags(shapes[first])}")
    return shapes[first]


def _format_flags(shape: ModelConfig) -> str:
    """Return the flags that choose a shape without a measurement."""
    names = ("d_model", "nhead", "num_layers", "dim_feedforward")
    return " ".join(f"{flag(name)} {getattr(shape, name)}" for name in names)
