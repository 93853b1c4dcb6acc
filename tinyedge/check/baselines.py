"""What a model has to beat: bits per byte of the same text by methods that take no training.

In: bytes. Out: bits per byte. All three see the very text that they are judged on: the byte frequencies as a
whole, the other two as it goes by.
"""

import lzma
import math
from collections import Counter
from collections.abc import Mapping

ORDER = 2
BYTES = 256
# A small dictionary, which is plenty for a sample: xz -9 would take 600 MB of memory for its own.
XZ = {"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "dict_size": 1 << 20}


def measure_baselines(data: bytes) -> dict[str, float]:
    """Bits per byte of `data`, which is not empty, by name."""
    return {
        "byte frequencies": byte_entropy(data),
        "order-2 bytes": context_model_bits(data, ORDER),
        "xz": 8 * len(lzma.compress(data, format=lzma.FORMAT_RAW, filters=[XZ])) / len(data),
    }


def byte_entropy(data: bytes) -> float:
    """Of the frequencies of its bytes: what the best code without context takes, its table not counted."""
    return -sum(count / len(data) * math.log2(count / len(data)) for count in Counter(data).values())


def context_model_bits(data: bytes, order: int) -> float:
    """Of a model that learns as it reads: which byte followed the last `order` ones, the last but one, ...

    Witten-Bell interpolation (Witten and Bell, 1991): a context of n bytes with t different ones after it
    gives t / (n + t) of its probability to the next shorter context, and the empty one to all bytes alike.
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
