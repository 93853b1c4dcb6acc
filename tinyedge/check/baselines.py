"""Baselines for a model: bits per byte of the same text with methods that need no training.

In: bytes. Out: bits per byte. All three methods learn from the text that they are measured on: the byte
frequencies are counted in advance, the other two methods learn while they read it.
"""

import lzma
import math
from collections import Counter
from collections.abc import Mapping

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
