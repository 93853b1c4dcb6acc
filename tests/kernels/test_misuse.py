"""Wrong arguments and weights that give no numbers are errors, and a decoder survives them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.kernels.models import Weights, make_random, tensor_names
from tests.kernels.reference_model import Tensor

Loader = Callable[..., Any]

SHAPE = (60, 20, 2, 16, 2, 30, 8)
NAMES = tensor_names(SHAPE[4])
FP32_NAMES = [name for name in NAMES if "norm" not in name]


def replace(weights: Weights, at: int, tensor: Tensor) -> Weights:
    tensors = [*weights.tensors[:at], tensor, *weights.tensors[at + 1 :]]
    return Weights(weights.config, weights.attention_scale, tensors)


def require_no_token(kernels: Any, model: Any, tokens: list[int]) -> None:
    """Every question about the tokens must be answered with NotFiniteError."""
    decoder = model.decoder()
    questions: list[tuple[Callable[..., object], tuple[object, ...]]] = [
        (decoder.logits, ()),
        (decoder.largest, (1,)),
        (decoder.largest, (SHAPE[0],)),
        (decoder.score, ([3],)),
        (decoder.draw, (0.0, 1, 1.0, 0.0, 0.0, [])),
        (decoder.draw, (0.8, 5, 0.9, 0.1, 0.5, [3])),
    ]
    for ask, arguments in questions:
        with pytest.raises(kernels.NotFiniteError):
            ask(tokens, 0, *arguments)


@pytest.fixture
def decoder(load: Loader) -> Any:
    """A decoder with a text of three tokens."""
    created = load(make_random(SHAPE, "int8", seed=1)).decoder()
    created.feed([1, 2, 3], 0)
    return created


DRAW = {"temperature": 0.8, "top_k": 5, "top_p": 0.9, "min_p": 0.0, "point": 0.5, "banned": []}

WRONG_CALLS: list[tuple[str, dict[str, Any]]] = [
    ("feed", {"tokens": [60], "start": 3}),
    ("feed", {"tokens": [-1], "start": 3}),
    ("feed", {"tokens": [1 << 40], "start": 3}),
    ("feed", {"tokens": [1], "start": 4}),
    ("feed", {"tokens": [1], "start": -1}),
    ("feed", {"tokens": [1] * 6, "start": 3}),
    ("feed", {"tokens": [1] * 9, "start": 0}),
    ("logits", {"tokens": [1, 60], "start": 3}),
    ("largest", {"tokens": [], "start": 3, "count": 0}),
    ("largest", {"tokens": [], "start": 3, "count": 61}),
    ("largest", {"tokens": [], "start": 3, "count": -1}),
    ("score", {"tokens": [], "start": 3, "ids": [60]}),
    ("score", {"tokens": [], "start": 3, "ids": [-1]}),
    ("score", {"tokens": [], "start": 3, "ids": [0] * 61}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "temperature": -1.0}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "temperature": float("nan")}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "temperature": float("inf")}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "top_k": 0}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "top_p": 1.5}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "min_p": -0.1}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "point": 2.0}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "point": float("nan")}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "banned": [60]}),
    ("draw", {"tokens": [], "start": 3, **DRAW, "banned": list(range(60))}),
]


@pytest.mark.parametrize(("method", "arguments"), WRONG_CALLS, ids=str)
def test_a_wrong_argument_is_a_value_error_and_changes_nothing(
    decoder: Any, method: str, arguments: dict[str, Any]
) -> None:
    before = decoder.logits([], 3)
    with pytest.raises(ValueError, match=r"\w"):
        getattr(decoder, method)(**arguments)
    assert decoder.logits([], 3) == before
    decoder.feed([4], 3)


WRONG_TYPES: list[dict[str, Any]] = [
    {"tokens": ["a"], "start": 3},
    {"tokens": [1.5], "start": 3},
    {"tokens": None, "start": 3},
    {"tokens": [1], "start": "3"},
    {"tokens": [1], "start": None},
]


@pytest.mark.parametrize("arguments", WRONG_TYPES, ids=str)
def test_a_wrong_type_is_a_type_error(decoder: Any, arguments: dict[str, Any]) -> None:
    before = decoder.logits([], 3)
    with pytest.raises(TypeError):
        decoder.feed(**arguments)
    assert decoder.logits([], 3) == before


def test_without_a_state_there_is_nothing_to_ask(load: Loader) -> None:
    created = load(make_random(SHAPE, "int8", seed=1)).decoder()
    for ask in (created.feed, created.logits):
        with pytest.raises(ValueError, match=r"\w"):
            ask([], 0)


def test_an_earlier_step_again_keeps_the_later_ones(load: Loader) -> None:
    model = load(make_random(SHAPE, "int8", seed=1))
    expected = [model.decoder().logits([1, 2, 3, 4][:count], 0) for count in (2, 4)]
    decoder = model.decoder()
    decoder.feed([1, 2, 3], 0)
    assert decoder.logits([2], 1) == expected[0]
    assert decoder.logits([4], 3) == expected[1]


@pytest.mark.parametrize("at", range(len(NAMES)), ids=NAMES)
def test_the_size_of_each_tensor_is_checked(load: Loader, at: int) -> None:
    weights = make_random(SHAPE, "mixed", seed=2)
    values, scale = weights.tensors[at]
    wrong: list[Tensor] = [(bytes(values)[:-1], scale), (bytes(values) + b"\0", scale), (b"", scale)]
    if scale is not None:
        wrong += [(values, bytes(scale)[:3]), (values, b""), (values, None)]
    else:
        wrong += [(values, np.float32(1).tobytes())]
    for tensor in wrong:
        with pytest.raises(ValueError, match=r"\w"):
            load(replace(weights, at, tensor))


def test_the_number_of_tensors_is_checked(load: Loader) -> None:
    weights = make_random(SHAPE, "int8", seed=2)
    for tensors in ([], weights.tensors[:-1], [*weights.tensors, weights.tensors[-1]]):
        with pytest.raises(ValueError, match=r"\w"):
            load(Weights(weights.config, weights.attention_scale, tensors))


@pytest.mark.parametrize("scale", [np.nan, np.inf, -1.0])
def test_a_scale_is_a_finite_number_and_not_negative(load: Loader, scale: float) -> None:
    weights = make_random(SHAPE, "int8", seed=2)
    with pytest.raises(ValueError, match="scale"):
        load(replace(weights, 2, (weights.tensors[2][0], np.float32(scale).tobytes())))


def test_a_width_above_the_kernels_limit_is_refused(load: Loader) -> None:
    """The planes of an int8 output count in few bits; columns of -128 exceed them above a width of 1024."""
    weights = make_random((100, 1040, 2, 8, 1, 8, 4), "int8", seed=2)
    with pytest.raises(ValueError, match="d_model"):
        load(weights)


def test_heads_whose_products_exceed_32_bits_are_refused(kernels: Any) -> None:
    with pytest.raises(ValueError, match="heads x head_width"):
        kernels.Model("", (2, 1, 8193, 8, 1, 1, 1), 1.0, [])
    with pytest.raises(ValueError, match="tensors"):
        kernels.Model("", (2, 1, 8192, 8, 1, 1, 1), 1.0, [])


def test_unknown_instructions_are_a_value_error(load: Loader) -> None:
    for name in ("sse9", "PLAIN", "plain\0"):
        with pytest.raises(ValueError, match=r"\w"):
            load(make_random(SHAPE, "int8", seed=2), 1, name)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 3e38], ids=str)
@pytest.mark.parametrize("name", FP32_NAMES)
def test_weights_that_are_not_finite_give_no_token(
    kernels: Any, load: Loader, instruction_sets: list[str], name: str, bad: float
) -> None:
    """One bad weight in each place, or weights so large that sums of finite ones are not finite."""
    weights, at = make_random(SHAPE, "fp32", seed=3), NAMES.index(name)
    floats = np.frombuffer(weights.tensors[at][0], np.float32).copy()
    if np.isfinite(bad):
        floats[:] = np.where(floats > 0, bad, -bad)
    else:
        floats[:40] = bad  # two rows of the embeddings
    broken = replace(weights, at, (floats.tobytes(), None))
    for instructions in instruction_sets:
        require_no_token(kernels, load(broken, 1, instructions), [0, 1])


def test_a_decoder_survives_a_token_that_is_not_finite(kernels: Any, load: Loader) -> None:
    weights = make_random(SHAPE, "fp32", seed=4)
    embedding = np.frombuffer(weights.tensors[0][0], np.float32).reshape(60, 20).copy()
    embedding[7] = np.nan
    model = load(replace(weights, 0, (embedding.tobytes(), None)))
    decoder = model.decoder()
    decoder.feed([1, 2], 0)
    with pytest.raises(kernels.NotFiniteError):
        decoder.feed([3, 7, 4], 2)
    with pytest.raises(ValueError, match=r"\w"):
        decoder.logits([], 2)
    with pytest.raises(ValueError, match=r"\w"):
        decoder.logits([5], 3)
    assert decoder.logits([3, 8], 2) == model.decoder().logits([1, 2, 3, 8], 0)


def test_an_int8_model_does_not_hide_infinity(
    kernels: Any, load: Loader, instruction_sets: list[str]
) -> None:
    """Quantization would turn NaN into an ordinary number."""
    for at in (1, NAMES.index("blocks.0.norm1.bias"), NAMES.index("blocks.1.norm2.scale")):
        for bad in (np.nan, np.inf):
            weights = make_random(SHAPE, "int8", seed=5)
            floats = np.frombuffer(weights.tensors[at][0], np.float32).copy()
            floats[3] = bad
            broken = replace(weights, at, (floats.tobytes(), None))
            for name in instruction_sets:
                require_no_token(kernels, load(broken, 1, name), [1])


@pytest.mark.parametrize(("name", "size"), [("blocks.0.linear2", 1e19), ("blocks.0.qkv", 1e19)])
def test_a_number_that_overflows_on_the_way_is_not_hidden(
    kernels: Any, load: Loader, instruction_sets: list[str], name: str, size: float
) -> None:
    """An infinite variance would make a row 0, and a score of minus infinity a weight of 0."""
    weights, at = make_random(SHAPE, "fp32", seed=8), NAMES.index(name)
    floats = np.frombuffer(weights.tensors[at][0], np.float32) * np.float32(size)
    assert np.isfinite(floats).all()
    broken = replace(weights, at, (floats.tobytes(), None))
    for instructions in instruction_sets:
        require_no_token(kernels, load(broken, 1, instructions), [0, 1, 2, 3])


def test_a_logit_that_is_not_finite_is_seen_behind_finite_ones(
    kernels: Any, load: Loader, instruction_sets: list[str]
) -> None:
    """All logits overflow to minus infinity but one, which is 0 and so the largest."""
    at = len(NAMES) - 1
    weights = make_random(SHAPE, "int8", seed=6)
    bias = NAMES.index("blocks.1.norm2.bias")
    ones = np.full(20, 1e3, np.float32)  # outweighs what is normalized: all activations are positive
    values = np.full((20, 60), -127, np.int8)
    values[:, 30] = 0
    broken = replace(weights, bias, (ones.tobytes(), None))
    broken = replace(broken, at, (values.tobytes(), np.float32(1e36).tobytes()))
    for name in instruction_sets:
        require_no_token(kernels, load(broken, 1, name), [1])
