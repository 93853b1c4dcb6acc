"""The windows in which a text is scored, and the tokens of conversations that are learned and scored.

In: tokens. Out: windows and masks. Does not know files or models.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from tinyedge.core.arrays import TokenIds
from tinyedge.text.tokenizer import BOS_ID, PAD_ID


@dataclass(frozen=True)
class Window:
    """Tokens to feed and tokens to predict: `targets[i]` follows `inputs[first + i]`."""

    inputs: TokenIds
    """Tokens to feed, at most the model's context."""

    first: int
    """Index of the first input whose next token is scored."""

    targets: TokenIds
    """Tokens to predict."""


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


def split_completions(tokens: TokenIds, context: int) -> Iterator[Window]:
    """Return a window for each completion of a conversation: it predicts the completion and its EOS.

    Args:
        tokens: A conversation in the template of `text.turns`, (T,).
        context: Largest number of inputs in a window. A longer conversation has no window.
    """
    if len(tokens) - 1 > context:
        return
    begins = np.flatnonzero(tokens == BOS_ID).tolist()
    for number in range(1, len(begins), 2):
        first = begins[number]
        end = begins[number + 1] if number + 1 < len(begins) else len(tokens)
        yield Window(tokens[: end - 1], first, tokens[first + 1 : end])


def mask_completions(tokens: TokenIds) -> npt.NDArray[np.bool_]:
    """Return which targets belong to a completion or are its EOS.

    Args:
        tokens: Conversations one after the other, (T,). PAD may stand between them and at the end.

    Returns:
        A mask of the targets `tokens[1:]`, (T - 1,).
    """
    targets = tokens[1:]
    is_answering = np.cumsum(tokens[:-1] == BOS_ID) % 2 == 0  # each turn begins with BOS
    mask: npt.NDArray[np.bool_] = is_answering & (targets != BOS_ID) & (targets != PAD_ID)
    return mask
