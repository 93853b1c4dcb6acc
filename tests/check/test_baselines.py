"""The baselines: exact values, and texts that each method predicts well or badly."""

import math
import random

import pytest

from tinyedge.check.baselines import byte_entropy, context_model_bits, measure_baselines


def test_entropy() -> None:
    assert byte_entropy(b"aaaa") == 0
    assert byte_entropy(b"abab") == 1
    assert byte_entropy(bytes(range(256))) == 8
    assert byte_entropy(b"aaab") == pytest.approx(-(0.75 * math.log2(0.75) + 0.25 * math.log2(0.25)))


def test_context_bits_of_two_bytes() -> None:
    # The first byte has 1/256. The second: of the empty context 1 of 2, and half of 1/256.
    assert context_model_bits(b"aa", 0) == pytest.approx(
        -(math.log2(1 / 256) + math.log2((1 + 1 / 256) / 2)) / 2
    )
    assert context_model_bits(b"ab", 0) == pytest.approx(-(math.log2(1 / 256) + math.log2(1 / 256 / 2)) / 2)
    # With a context of one byte nothing has followed "a" yet, so the second is the same.
    assert context_model_bits(b"aa", 1) == context_model_bits(b"aa", 0)


def test_probabilities_sum_to_one() -> None:
    begin = b"abracadabra"
    spent = context_model_bits(begin, 2) * len(begin)
    total = sum(
        2 ** (spent - context_model_bits(begin + bytes([byte]), 2) * (len(begin) + 1)) for byte in range(256)
    )
    assert total == pytest.approx(1)


def test_what_each_can_read() -> None:
    repeated = b"the same sentence again. " * 200
    noise = random.Random(1).randbytes(5000)
    found = measure_baselines(repeated)
    assert found["xz"] < found["order-2 bytes"] < found["byte frequencies"] < 8
    assert found["order-2 bytes"] < 0.5
    assert all(bits > 7.9 for bits in measure_baselines(noise).values())
    assert found.keys() == measure_baselines(b"x").keys()
