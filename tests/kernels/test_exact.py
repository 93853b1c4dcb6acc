"""Logits of the extension are those of the reference in every bit, on every instruction set."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.kernels.models import Weights, make_random
from tests.kernels.reference_model import Model

Loader = Callable[..., Any]

# vocab_size, d_model, heads, head_width, layers, feedforward, context; many widths fill no vector.
SHAPES = [
    (1000, 64, 2, 32, 1, 128, 32),
    (1003, 65, 5, 16, 2, 131, 33),
    (257, 69, 3, 24, 3, 129, 37),
    (130, 511, 7, 80, 1, 66, 32),
    (64, 16, 8, 8, 6, 15, 40),
    (61, 66, 2, 40, 2, 1023, 35),
    (5, 1, 1, 8, 2, 1, 3),
]
PRECISIONS = ["int8", "fp32", "mixed"]


def draw_tokens(weights: Weights, count: int, seed: int = 0) -> list[int]:
    tokens: list[int] = np.random.default_rng(seed).integers(0, weights.vocab_size, count).tolist()
    return tokens


def reference_of(weights: Weights) -> Model:
    return Model("", weights.config, weights.attention_scale, weights.tensors)


def require_equal_bits(found: bytes, expected: bytes) -> None:
    if found != expected:
        wrong, right = (np.frombuffer(data, np.float32) for data in (found, expected))
        differ = np.flatnonzero(wrong.view(np.int32) != right.view(np.int32))
        raise AssertionError(
            f"{len(differ)} of {len(right)} logits differ, at most {np.abs(wrong - right).max():.3g};"
            f" the first is {differ[0]}: {wrong[differ[0]]!r} instead of {right[differ[0]]!r}"
        )


def compare_with_reference(load: Loader, weights: Weights, sets: list[str], tokens: list[int]) -> None:
    """Feed a prompt at once, and the rest one by one; the logits after each step are equal."""
    prompt = max(1, len(tokens) - 2)
    steps = [(tokens[:prompt], 0), *(([token], at) for at, token in enumerate(tokens[prompt:], prompt))]
    decoder = reference_of(weights).decoder()
    expected = [decoder.logits(new, start) for new, start in steps]
    for name in sets:
        native = load(weights, 1, name).decoder()
        for (new, start), logits in zip(steps, expected, strict=True):
            require_equal_bits(native.logits(new, start), logits)


def test_micro_bundles(
    load: Loader, instruction_sets: list[str], micro: Weights, micro_fp32: Weights
) -> None:
    for weights in (micro, micro_fp32):
        compare_with_reference(load, weights, instruction_sets, draw_tokens(weights, weights.context))


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_random_models(
    load: Loader, instruction_sets: list[str], shape: tuple[int, int, int, int, int, int, int], precision: str
) -> None:
    weights = make_random(shape, precision, seed=sum(shape))
    tokens = draw_tokens(weights, min(9, weights.context))
    compare_with_reference(load, weights, instruction_sets, tokens)


@pytest.mark.parametrize("seed", range(12))
def test_random_shapes(load: Loader, instruction_sets: list[str], seed: int) -> None:
    draw = np.random.default_rng(seed)
    high = (400, 150, 9, 5, 4, 200, 20)
    vocab, width, heads, head, layers, feedforward, context = map(int, draw.integers(1, high))
    shape = (vocab, width, heads, 8 * head, layers, feedforward, context)
    weights = make_random(shape, PRECISIONS[seed % 3], seed, spread=float(draw.choice([0.01, 1, 20])))
    compare_with_reference(load, weights, instruction_sets, draw_tokens(weights, context, seed))


@pytest.mark.parametrize("value", [-128, 127])
def test_the_largest_integer_sums(load: Loader, instruction_sets: list[str], value: int) -> None:
    """All weights are extreme and all activations of one sign, where 16-bit sums would saturate."""
    weights = make_random((70, 128, 2, 64, 1, 257, 4), "int8", seed=3)
    for at, (values, scale) in enumerate(weights.tensors):
        if scale is not None and at > 0:
            weights.tensors[at] = (np.full(len(values), value, np.int8).tobytes(), scale)
    compare_with_reference(load, weights, instruction_sets, [1, 69, 3])


@pytest.mark.parametrize("precision", ["int8", "fp32"])
@pytest.mark.parametrize("spread", [0.01, 1, 20])
@pytest.mark.parametrize("vocabulary", [1, 2, 1030])
def test_scores(
    load: Loader, instruction_sets: list[str], vocabulary: int, spread: float, precision: str
) -> None:
    weights = make_random((vocabulary, 48, 2, 24, 1, 40, 8), precision, seed=7, spread=spread)
    tokens = draw_tokens(weights, 3)
    ids = [*draw_tokens(weights, min(vocabulary, 50), seed=1)]
    expected = reference_of(weights).decoder().score(tokens, 0, ids)
    for name in instruction_sets:
        decoder = load(weights, 1, name).decoder()
        assert decoder.score(tokens, 0, ids) == expected
        assert decoder.score([], 3, []) == ([], expected[1])


def test_the_largest_sums_of_the_widest_output(load: Loader, instruction_sets: list[str]) -> None:
    weights = make_random((96, 1024, 2, 8, 1, 8, 4), "int8", seed=4)
    values = np.random.default_rng(4).integers(-128, 128, (1024, 96)).astype(np.int8)
    values[:, :20], values[:, 20:40] = -128, 127
    weights.tensors[-1] = (values.tobytes(), weights.tensors[-1][1])
    compare_with_reference(load, weights, instruction_sets, [1, 95, 3])


def test_subnormal_activations(load: Loader, instruction_sets: list[str]) -> None:
    weights = make_random((40, 33, 3, 16, 2, 31, 6), "mixed", seed=5)
    for at in (0, 1):  # both embeddings
        values, scale = weights.tensors[at]
        tiny = np.float32(1e-44) if at == 0 and scale is not None else None
        floats = np.full(len(values) // 4, 3e-45, np.float32).tobytes()
        weights.tensors[at] = (floats, None) if tiny is None else (values, tiny.tobytes())
    compare_with_reference(load, weights, instruction_sets, [1, 39, 0, 2])


@pytest.mark.parametrize("precision", PRECISIONS)
def test_any_number_of_threads(load: Loader, instruction_sets: list[str], precision: str) -> None:
    weights = make_random((1501, 132, 4, 40, 2, 200, 48), precision, seed=8)
    tokens = draw_tokens(weights, weights.context)
    results = {
        load(weights, threads, name).decoder().logits(tokens, 0)
        for name in instruction_sets
        for threads in (1, 2, 3, 4)
    }
    assert len(results) == 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_any_number_of_threads_decodes_the_same(
    load: Loader, instruction_sets: list[str], precision: str
) -> None:
    """Every product of one row, and the attention of many positions, is large enough to be divided."""
    weights = make_random((4500, 264, 4, 64, 2, 1100, 160), precision, seed=8)
    tokens = draw_tokens(weights, weights.context)
    results = set()
    for name in instruction_sets:
        for threads in (1, 2, 3, 4):
            decoder = load(weights, threads, name).decoder()
            decoder.feed(tokens[:-3], 0)
            steps = [decoder.largest([tokens[at]], at, 5) for at in (-3 + len(tokens), -2 + len(tokens))]
            last = decoder.logits(tokens[-1:], len(tokens) - 1)
            results.add((str(steps), bytes(last)))
    assert len(results) == 1


@pytest.mark.parametrize("precision", PRECISIONS)
def test_a_prompt_at_once_in_pieces_and_token_by_token(load: Loader, precision: str) -> None:
    weights = make_random((333, 96, 3, 32, 3, 150, 64), precision, seed=9)
    tokens = draw_tokens(weights, weights.context)
    model = load(weights, 2)
    at_once = model.decoder().logits(tokens, 0)
    for size in (1, 7, 63):
        decoder = model.decoder()
        for start in range(0, len(tokens), size):
            logits = decoder.logits(tokens[start : start + size], start)
        require_equal_bits(logits, at_once)


def test_replaced_tokens_leave_no_trace(load: Loader) -> None:
    weights = make_random((100, 40, 2, 24, 2, 50, 16), "int8", seed=10)
    model = load(weights)
    used = model.decoder()
    used.feed(draw_tokens(weights, 16), 0)
    used.feed([5, 6], 3)
    tokens = [*draw_tokens(weights, 16)[:3], 5, 6, 7]
    require_equal_bits(used.logits([7], 5), model.decoder().logits(tokens, 0))
