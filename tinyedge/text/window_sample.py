"""A random sample of the windows in which texts are scored, where scoring all of them would take too long.

In: passages. Out: windows, with the bytes that each stands for. Does not know models.
"""

import random
from collections.abc import Iterable, Iterator

from tinyedge.core.arrays import TokenIds
from tinyedge.text.evaluate import Passage, Window, default_stride
from tinyedge.text.tokenizer import UNK_ID

SAMPLE_SEED = 0  # fixed: every measurement must read the same text


def sample_windows(
    passages: Iterable[Passage], context: int, limit: int
) -> Iterator[tuple[Window, float, float]]:
    """Yield windows in a fixed random order, until they have `limit` predictions.

    Yields:
        A window, its share of the passage's bytes, and its share of the passage's bytes behind UNK.
    """
    pool: list[tuple[Window, float, float]] = []
    for passage in passages:
        windows = list(passage.windows(context, default_stride(context)))
        bytes_per_token = passage.bytes / max(1, sum(len(window.targets) for window in windows))
        bytes_per_unk = passage.unknown_bytes / max(1, sum(_count_unk(window.targets) for window in windows))
        for window in windows:
            unknown_bytes = bytes_per_unk * _count_unk(window.targets)
            pool.append((window, bytes_per_token * len(window.targets), unknown_bytes))
    random.Random(SAMPLE_SEED).shuffle(pool)
    taken = 0
    for window, size, unknown_bytes in pool:
        if taken >= limit:
            return
        taken += len(window.targets)
        yield window, size, unknown_bytes


def _count_unk(tokens: TokenIds) -> int:
    return int((tokens == UNK_ID).sum())
