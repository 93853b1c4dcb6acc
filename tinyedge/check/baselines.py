"""Baselines for a model: bits per byte of the same text with simpler methods.

In: bytes, or a table of n-grams and tokens. Out: bits per byte. Three methods learn from the text that they
are measured on: the byte frequencies are counted in advance, the other two methods learn while they read it.
The n-grams of a bundle are those of its training text.
"""

import lzma
import math
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from tinyedge.core.arrays import Logits, TokenIds
from tinyedge.core.config import ModelConfig
from tinyedge.ngram.lookup import distribution
from tinyedge.ngram.mapped_file import NgramFile
from tinyedge.ngram.table import NgramTable
from tinyedge.text.evaluate import Passage, evaluate

ORDER = 2
BYTES = 256
# A small dictionary is enough for a sample; that of xz -9 would need 600 MB of memory.
XZ = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}


def measure_baselines(data: bytes) -> dict[str, float]:
    """Bits per byte of `data`, which must not be empty, by the name of the method."""
    return {
        "byte frequencies": byte_entropy(data),
        "order-2 bytes": context_model_bits(data, ORDER),
        "xz": 8 * len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=[XZ])) / len(data),
    }


class TableModel:
    """A table of n-grams as `text.evaluate` evaluates a model: its log probabilities are its logits.

    Args:
        file: The table.
        context: Largest number of tokens in a window.
    """

    def __init__(self, file: NgramFile, context: int) -> None:
        self._table = NgramTable(file)
        self.context = context

    def logits(self, inputs: TokenIds, first: int) -> Logits:
        """Compute log probabilities after each of the tokens `inputs[first:]`, (len(inputs) - first, V)."""
        tokens: list[int] = inputs.tolist()
        rows = [distribution(self._table, tokens[: at + 1])[0] for at in range(first, len(tokens))]
        return np.asarray(np.log(np.stack(rows)), dtype=np.float32)


def measure_table(file: NgramFile, config: ModelConfig, passages: Sequence[Passage]) -> float:
    """Bits per byte of a bundle's n-grams without its model, in the windows of a model of that shape."""
    return evaluate("n-grams", TableModel(file, config.max_seq_length), passages).bits_per_byte


def byte_entropy(data: bytes) -> float:
    """Entropy of the byte frequencies, in bits per byte: the best code without context, without its table."""
    return -sum(count / len(data) * math.log2(count / len(data)) for count in Counter(data).values())


def context_model_bits(data: bytes, order: int) -> float:
    """Bits per byte of an adaptive model that predicts a byte from up to `order` bytes before it.

    Witten-Bell interpolation (Witten and Bell, 1991): a context that was seen n times, with t different bytes
    after it, gives t / (n + t) of its probability to the next shorter context, and the empty context gives it
    to all bytes equally.
    """
    seen: list[dict[bytes, Counter[int]]] = [{} for _ in range(order + 1)]
    bits = 0.0
    for at, byte in enumerate(data):
        probability = 1 / BYTES
        for length in range(min(order, at) + 1):
            context = data[at - length : at]
            counts = seen[length].setdefault(context, Counter())
            probability = _interpolate(counts, byte, probability)
            counts[byte] += 1
        bits -= math.log2(probability)
    return bits / len(data)


def _interpolate(counts: Mapping[int, int], byte: int, shorter: float) -> float:
    different, total = len(counts), sum(counts.values())
    return (counts.get(byte, 0) + different * shorter) / (total + different) if total else shorter
