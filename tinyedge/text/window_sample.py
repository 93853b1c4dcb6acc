"""Windows in which texts are scored, with the bytes that each stands for, and a random sample of them.

In: passages. Out: windows, where scoring all of them would take too long. Does not know models.
"""

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from tinyedge.core.arrays import TokenIds
from tinyedge.text.evaluate import Passage, Window, default_stride
from tinyedge.text.tokenizer import UNK_ID

SAMPLE_SEED = 0  # fixed: every measurement must read the same text

SampledWindow: TypeAlias = tuple[Window, float, float]
"""A window, its share of the passage's bytes, and its share of the passage's bytes behind UNK."""


@dataclass(frozen=True)
class WindowSample:
    """The sampled windows of one text, in their order."""

    measured: Sequence[SampledWindow]
    """Those that a figure is about."""
    others: Sequence[SampledWindow]
    """Those after them, to choose settings on: half as many predictions, or what is left of the text."""


def draw_sample(passages: Iterable[Passage], context: int, limit: int) -> WindowSample:
    """Draw the windows of a text that `sample_windows` yields, until half as many follow those of `limit`."""
    windows = list(sample_windows(passages, context, limit + limit // 2))
    taken = count = 0
    while count < len(windows) and taken < limit:
        taken += len(windows[count][0].targets)
        count += 1
    return WindowSample(windows[:count], windows[count:])


def sample_windows(passages: Iterable[Passage], context: int, limit: int) -> Iterator[SampledWindow]:
    """Yield windows in a fixed random order, until they have `limit` predictions."""
    pool: list[SampledWindow] = []
    for passage in passages:
        pool += share_bytes(passage, context, default_stride(context))
    random.Random(SAMPLE_SEED).shuffle(pool)
    taken = 0
    for window, size, unknown_bytes in pool:
        if taken >= limit:
            return
        taken += len(window.targets)
        yield window, size, unknown_bytes


def share_bytes(passage: Passage, context: int, stride: int) -> list[SampledWindow]:
    """Return all windows of a passage, each with its share of the bytes.

    Args:
        passage: The passage.
        context: Largest number of inputs in a window.
        stride: Number of new targets in each window of a text after its first.
    """
    windows = list(passage.windows(context, stride))
    unknown = [_count_unk(window.targets) for window in windows]
    bytes_per_token = passage.bytes / max(1, sum(len(window.targets) for window in windows))
    bytes_per_unk = passage.unknown_bytes / max(1, sum(unknown))
    return [
        (window, bytes_per_token * len(window.targets), bytes_per_unk * count)
        for window, count in zip(windows, unknown, strict=True)
    ]


def _count_unk(tokens: TokenIds) -> int:
    return int((tokens == UNK_ID).sum())
