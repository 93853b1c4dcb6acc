"""The choice of a token in the extension: as sorting all logits, and as tinyedge's sampler on all of them."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.kernels.models import Weights, make_random
from tinyedge.core.arrays import Logits
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.sampler import Sampler

Loader = Callable[..., Any]


def logits_of(decoder: Any, length: int) -> Logits:
    """The logits after the `length` tokens that a decoder has."""
    logits: Logits = np.frombuffer(decoder.logits([], length), np.float32)
    return logits


def with_output(weights: Weights, values: bytes | None = None, scale: float | None = None) -> Weights:
    """Replace the int8 output's values or scale."""
    old_values, old_scale = weights.tensors[-1]
    new_scale = old_scale if scale is None else np.float32(scale).tobytes()
    tensors = [*weights.tensors[:-1], (old_values if values is None else values, new_scale)]
    return Weights(weights.config, weights.attention_scale, tensors)


def check_largest(decoder: Any, length: int, count: int) -> None:
    logits = logits_of(decoder, length)
    expected = np.argsort(-logits, kind="stable")[:count]
    ids, values = decoder.largest([], length, count)
    assert ids == expected.tolist()
    assert values == logits[expected].tolist()


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize("precision", ["int8", "fp32"])
def test_largest_is_sorting(load: Loader, instruction_sets: list[str], precision: str, threads: int) -> None:
    weights = make_random((1030, 48, 2, 24, 1, 40, 8), precision, seed=1)
    for name in instruction_sets:
        decoder = load(weights, threads, name).decoder()
        for start, token in enumerate([5, 1000, 17]):
            decoder.feed([token], start)
            for count in (1, 2, 43, 600, 1030):
                check_largest(decoder, start + 1, count)


def test_largest_of_peaked_weights(load: Loader, instruction_sets: list[str]) -> None:
    """A few weights of each row are large, as in trained models: the bounds of the planes differ by row."""
    draw = np.random.default_rng(2)
    peaked = np.clip(draw.standard_t(2, size=(64, 2000)) * draw.uniform(1, 30, 2000), -128, 127)
    weights = with_output(
        make_random((2000, 64, 2, 32, 1, 40, 8), "int8", seed=2), peaked.astype(np.int8).tobytes()
    )
    for name in instruction_sets:
        decoder = load(weights, 1, name).decoder()
        decoder.feed([3, 4, 5], 0)
        for count in (1, 43, 500):
            check_largest(decoder, 3, count)


def test_of_equal_logits_the_lowest_id_comes_first(load: Loader, instruction_sets: list[str]) -> None:
    few = np.random.default_rng(3).integers(-128, 128, size=(20, 5))
    columns = np.tile(few, 61).astype(np.int8)  # each logit occurs 61 times
    for precision in ("int8", "fp32"):
        weights = make_random((305, 20, 2, 16, 1, 40, 8), precision, seed=3)
        _, scale = weights.tensors[-1]
        same = columns if scale is not None else columns.astype(np.float32)
        weights.tensors[-1] = (same.tobytes(), scale)
        for name in instruction_sets:
            decoder = load(weights, 2, name).decoder()
            decoder.feed([300, 2], 0)
            for count in (1, 60, 62, 200, 305):
                check_largest(decoder, 2, count)


@pytest.mark.parametrize("distinct", [3, 300])
def test_largest_of_many_with_ties_at_the_limit(
    load: Loader, instruction_sets: list[str], distinct: int
) -> None:
    """So many logits that a small count is limited first, by maxima among which several are equal."""
    draw = np.random.default_rng(6)
    few = draw.integers(-128, 128, size=(20, distinct))
    columns = few[:, draw.integers(distinct, size=3001)].astype(np.int8)
    weights = with_output(make_random((3001, 20, 2, 16, 1, 40, 8), "int8", seed=6), columns.tobytes())
    for name in instruction_sets:
        decoder = load(weights, 1, name).decoder()
        decoder.feed([300, 2], 0)
        for count in (1, 31, 32, 33, 64, 700, 3001):
            check_largest(decoder, 2, count)


@pytest.mark.parametrize("scale", [0.0, 1e-45, 1e-42, 1e30])
def test_scales_that_change_the_order_of_logits(
    load: Loader, instruction_sets: list[str], scale: float
) -> None:
    weights = with_output(make_random((305, 20, 2, 16, 1, 40, 8), "int8", seed=4), scale=scale)
    for name in instruction_sets:
        decoder = load(weights, 1, name).decoder()
        decoder.feed([300, 2], 0)
        for count in (1, 43, 305):
            check_largest(decoder, 2, count)


SETTINGS = [
    {"temperature": 0.8, "top_k": 40, "top_p": 0.9},
    {"temperature": 1.0, "top_k": 40, "top_p": 1.0},
    {"temperature": 0.7, "top_k": 5, "top_p": 1.0, "min_p": 0.1},
    {"temperature": 3.0, "top_k": 200, "top_p": 0.5},
    {"temperature": 100.0, "top_k": 999, "top_p": 0.99, "min_p": 0.5},
    {"temperature": 0.01, "top_k": 2, "top_p": 0.0},
    {"temperature": 2e-5, "top_k": 3, "top_p": 1.0, "min_p": 1.0},
    {"temperature": 1.3, "top_k": 1},
    {"temperature": 0.0},
]


@pytest.mark.parametrize("settings", SETTINGS, ids=str)
def test_draw_is_the_samplers(load: Loader, micro: Weights, settings: dict[str, Any]) -> None:
    """A few thousand draws in all: from different texts, with and without banned tokens."""
    draw = np.random.default_rng(5)
    config = SamplingConfig(seed=11, **settings)
    sampler, points = Sampler(config, micro.vocab_size), random.Random(11)
    decoder = load(micro).decoder()
    for start in range(24):
        decoder.feed([int(draw.integers(micro.vocab_size))], start)
        logits = logits_of(decoder, start + 1)
        best = np.argsort(-logits)[:4].tolist()
        for banned in ([], [best[0]], best, [0, 1, 2, best[2], best[2]]):
            for _ in range(1 if config.greedy else 6):
                expected = sampler.sample(logits, banned)
                point = 0.0 if config.greedy else points.random()
                top_k = max(config.top_k, 1)
                arguments = (config.temperature, top_k, config.top_p, config.min_p, point, banned)
                assert decoder.draw([], start + 1, *arguments) == expected


def test_the_points_at_the_ends(load: Loader, micro: Weights) -> None:
    decoder = load(micro).decoder()
    ids, _ = decoder.largest([7, 8], 0, 5)
    assert decoder.draw([], 2, 1.0, 5, 1.0, 0.0, 0.0, []) == ids[0]
    assert decoder.draw([], 2, 100.0, 5, 1.0, 0.0, np.nextafter(1, 0), []) == ids[4]


def test_the_candidates_of_a_draw_are_all_banned_but_one(load: Loader, micro: Weights) -> None:
    decoder = load(micro).decoder()
    decoder.feed([7], 0)
    left = 123
    banned = [token for token in range(micro.vocab_size) if token != left]
    for temperature in (0.0, 0.8):
        assert decoder.draw([], 1, temperature, 40, 0.9, 0.0, 0.5, banned) == left
