"""The sampler by exact values: each setting alone, in combination, and at its limits."""

import math
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from tinyedge.core.errors import UsageError
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.full_sampling import apply_repetition_penalty, compute_distribution
from tinyedge.runtime.logprobs import find_largest
from tinyedge.runtime.sampler import Sampler
from tinyedge.runtime.top_k import select_top_k

OFF = {"temperature": 1.0, "top_k": 0, "top_p": 1.0, "min_p": 0.0, "seed": 0}
HALVES = np.log(np.array([0.25, 0.5, 0.125, 0.0625, 0.0625], dtype=np.float32))


def compute_probabilities(logits: np.ndarray, **settings: float) -> dict[int, float]:
    """Compute the probability of each token that can be drawn."""
    ids, probabilities = compute_distribution(logits, SamplingConfig(**{**OFF, **settings}))  # type: ignore[arg-type]
    return dict(zip(ids.tolist(), probabilities.tolist(), strict=True))


def test_without_filters_the_distribution_is_the_softmax() -> None:
    assert compute_probabilities(HALVES) == pytest.approx({0: 0.25, 1: 0.5, 2: 0.125, 3: 0.0625, 4: 0.0625})


def test_temperature_is_a_power() -> None:
    squares = {0: 1 / 16, 1: 1 / 4, 2: 1 / 64, 3: 1 / 256, 4: 1 / 256}
    total = sum(squares.values())
    assert compute_probabilities(HALVES, temperature=0.5) == pytest.approx(
        {k: v / total for k, v in squares.items()}
    )


@pytest.mark.parametrize(
    ("k", "expected"),
    [
        (1, {1: 1.0}),
        (2, {1: 2 / 3, 0: 1 / 3}),
        (4, {1: 0.5 / 0.9375, 0: 0.25 / 0.9375, 2: 0.125 / 0.9375, 3: 0.0625 / 0.9375}),  # 3 and 4 are equal
        (5, {0: 0.25, 1: 0.5, 2: 0.125, 3: 0.0625, 4: 0.0625}),
        (99, {0: 0.25, 1: 0.5, 2: 0.125, 3: 0.0625, 4: 0.0625}),
    ],
)
def test_top_k(k: int, expected: dict[int, float]) -> None:
    assert compute_probabilities(HALVES, top_k=k) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (0.0, {1: 1.0}),  # always at least one
        (0.49, {1: 1.0}),
        (0.51, {1: 2 / 3, 0: 1 / 3}),
        (0.74, {1: 2 / 3, 0: 1 / 3}),
        (0.9, {1: 0.5 / 0.9375, 0: 0.25 / 0.9375, 2: 0.125 / 0.9375, 3: 0.0625 / 0.9375}),
        (1.0, {0: 0.25, 1: 0.5, 2: 0.125, 3: 0.0625, 4: 0.0625}),
    ],
)
@pytest.mark.parametrize("top_k", [0, 5])
def test_top_p(p: float, expected: dict[int, float], top_k: int) -> None:
    assert compute_probabilities(HALVES, top_p=p, top_k=top_k) == pytest.approx(expected)


def test_top_p_stops_where_it_is_reached_exactly() -> None:
    assert compute_probabilities(np.zeros(4, dtype=np.float32), top_p=0.5) == {0: 0.5, 1: 0.5}


@pytest.mark.parametrize(
    ("p", "remaining"), [(0.0, {0, 1, 2, 3, 4}), (0.2, {0, 1, 2}), (0.3, {0, 1}), (0.9, {1}), (1.0, {1})]
)
def test_min_p_is_relative_to_the_likeliest(p: float, remaining: set[int]) -> None:
    assert compute_probabilities(HALVES, min_p=p).keys() == remaining


def test_filters_apply_one_after_the_other() -> None:
    # Temperature 2 takes square roots of the probabilities: 0.707, 0.5 and 0.354 for the largest three, which
    # top_k keeps. Their sum is 1.561, of which 0.707 is 45%, so top_p 0.7 needs two.
    assert compute_probabilities(HALVES, temperature=2.0, top_k=3, top_p=0.7) == pytest.approx(
        {1: math.sqrt(0.5) / (math.sqrt(0.5) + 0.5), 0: 0.5 / (math.sqrt(0.5) + 0.5)}
    )
    # Without the temperature, 0.5 is 57% of 0.875, so top_p needs two; min_p compares 0.25 with 0.5.
    assert compute_probabilities(HALVES, top_k=3, top_p=0.7, min_p=0.6) == {1: 1.0}


def test_min_p_applies_after_the_temperature() -> None:
    assert compute_probabilities(HALVES, min_p=0.6).keys() == {1}
    assert compute_probabilities(HALVES, min_p=0.6, temperature=2.0).keys() == {0, 1}


def test_equal_logits_give_the_lowest_ids() -> None:
    flat = np.zeros(1000, dtype=np.float32)
    assert compute_probabilities(flat, top_k=3) == pytest.approx({0: 1 / 3, 1: 1 / 3, 2: 1 / 3})
    assert Sampler(SamplingConfig(temperature=0), 1000).sample(flat) == 0


def test_minus_infinity_is_never_drawn() -> None:
    logits = np.full(1000, -np.inf, dtype=np.float32)
    logits[[7, 500]] = 1.0
    for settings in ({}, {"top_k": 40}, {"top_p": 0.9999}, {"min_p": 1.0}):
        assert compute_probabilities(logits, **settings) == {7: 0.5, 500: 0.5}


def test_extreme_temperatures_and_logits_stay_finite() -> None:
    logits = np.array([-3e38, 3e38, 0], dtype=np.float32)
    assert compute_probabilities(logits, temperature=1e-5) == {1: 1.0}
    assert compute_probabilities(HALVES, temperature=100.0)[1] == pytest.approx(0.2, abs=0.01)
    assert Sampler(SamplingConfig(temperature=1e-300), 3).sample(logits) == 1


def test_penalty_divides_positive_and_multiplies_negative() -> None:
    logits = np.array([2.0, -2.0, 0.0, 2.0], dtype=np.float32)
    apply_repetition_penalty(logits, np.array([0, 1, 2]), 4.0)
    assert logits.tolist() == [0.5, -8.0, 0.0, 2.0]


def test_penalty_applies_to_prompt_and_generated_tokens() -> None:
    logits = np.array([3.0, 2.9, 2.8, -5.0], dtype=np.float32)
    sampler = Sampler(SamplingConfig(temperature=0, repetition_penalty=1.5), 4)
    sampler.count_tokens([0])
    assert [sampler.sample(logits) for _ in range(3)] == [1, 2, 0]
    assert logits.tolist() == pytest.approx([3.0, 2.9, 2.8, -5.0])  # the caller's array is not modified


def test_a_penalty_below_one_makes_tokens_more_likely() -> None:
    sampler = Sampler(SamplingConfig(temperature=0, repetition_penalty=0.5), 2)
    sampler.count_tokens([1])
    assert sampler.sample(np.array([1.5, 1.0], dtype=np.float32)) == 1


def test_banned_tokens_are_never_drawn() -> None:
    logits = np.array([9.0, 8.0, 1.0, 0.0], dtype=np.float32)
    assert Sampler(SamplingConfig(temperature=0), 4).sample(logits, banned_ids=(0, 1)) == 2
    hot = Sampler(SamplingConfig(temperature=100, top_k=0, seed=3), 4)
    assert {hot.sample(logits, banned_ids=(0, 1)) for _ in range(100)} == {2, 3}


def test_a_seed_determines_the_tokens() -> None:
    logits = np.linspace(0, 5, 8000, dtype=np.float32)

    def draws(seed: int) -> list[int]:
        sampler = Sampler(SamplingConfig(seed=seed), 8000)
        return [sampler.sample(logits) for _ in range(50)]

    assert draws(7) == draws(7)
    assert draws(7) != draws(8)


def test_a_draw_uses_one_random_number_over_the_ordered_candidates() -> None:
    """The meaning of a seed is stable: the next version generates the same text from it."""
    logits = (np.arange(8000) % 97).astype(np.float32)  # 82 equal maxima: tokens 96, 96 + 97, ...
    sampler = Sampler(SamplingConfig(seed=1, top_k=40, top_p=1.0), 8000)
    generator = random.Random(1)  # Python guarantees that its numbers stay the same
    numbers = [generator.random() for _ in range(50)]
    assert [sampler.sample(logits) for _ in range(50)] == [96 + 97 * int(40 * u) for u in numbers]


def test_draws_follow_the_probabilities() -> None:
    sampler = Sampler(SamplingConfig(**OFF), 5)  # type: ignore[arg-type]
    draws = 20_000
    counts = np.bincount([sampler.sample(HALVES) for _ in range(draws)], minlength=5)
    expected = np.exp(HALVES.astype(np.float64)) * draws
    statistic = float(((counts - expected) ** 2 / expected).sum())
    assert statistic < 18.5  # chi-squared, 4 degrees of freedom, p = 0.001


TIED_LOGITS = st.sampled_from([-np.inf, -2.0, -1.0, 0.0, 0.5, 1.0, 3.0])  # ties are the point


@given(arrays.arrays(np.float32, st.integers(2, 300), elements=TIED_LOGITS), st.data())
def test_largest_equals_a_full_sort(logits: np.ndarray, data: st.DataObject) -> None:
    k = data.draw(st.integers(1, len(logits)))
    assert find_largest(logits, k).tolist() == sorted(range(len(logits)), key=lambda i: (-logits[i], i))[:k]


@given(
    arrays.arrays(np.float32, st.integers(2, 200), elements=st.floats(-8, 8, width=32)),
    st.floats(0, 1),
    st.sampled_from([0, 3, 1000]),
    st.floats(0.1, 5),
)
def test_top_p_is_the_smallest_set_that_reaches_p(
    logits: np.ndarray, p: float, k: int, temperature: float
) -> None:
    remaining = compute_probabilities(logits, top_p=p, top_k=k, temperature=temperature)
    candidates = compute_probabilities(logits, top_k=k, temperature=temperature)
    ranked = sorted(candidates, key=lambda token: (-logits[token], token))
    assert set(remaining) == set(ranked[: len(remaining)])
    assert sum(candidates[token] for token in remaining) >= p - 1e-9
    if len(remaining) > 1:
        assert sum(candidates[token] for token in ranked[: len(remaining) - 1]) < p + 1e-9


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"temperature": -1.0}, "temperature -1.0 is outside 0-100"),
        ({"temperature": math.nan}, "temperature nan is outside 0-100"),
        ({"temperature": math.inf}, "temperature inf is outside 0-100"),
        ({"temperature": "hot"}, "temperature 'hot' is not a number"),
        ({"temperature": True}, "temperature True is not a number"),
        ({"top_k": -1}, "top_k -1 is outside"),
        ({"top_k": 1.5}, "top_k 1.5 is not a whole number"),
        ({"top_k": 1 << 40}, "top_k 1099511627776 is outside"),
        ({"top_p": 1.1}, "top_p 1.1 is outside 0-1"),
        ({"top_p": math.nan}, "top_p nan is outside 0-1"),
        ({"min_p": -0.1}, "min_p -0.1 is outside 0-1"),
        ({"repetition_penalty": 0.0}, "repetition_penalty 0.0 is outside"),
        ({"repetition_penalty": math.nan}, "repetition_penalty nan is outside"),
        ({"seed": -1}, "seed -1 is outside"),
        ({"seed": 1 << 63}, "seed 9223372036854775808 is outside"),
        ({"seed": False}, "seed False is not a whole number"),
        ({"logit_bias": None}, "logit_bias None is not a mapping"),
        ({"logit_bias": "4"}, "logit_bias '4' is not a mapping"),
        ({"logit_bias": 5}, "logit_bias 5 is not a mapping"),
        ({"logit_bias": {4: 101.0}}, "logit_bias 101.0 is outside -100-100"),
    ],
)
def test_invalid_values_name_their_parameter(settings: dict[str, object], message: str) -> None:
    with pytest.raises(UsageError, match=message.replace("(", r"\(")):
        SamplingConfig(**settings)  # type: ignore[arg-type]


SETTINGS = st.fixed_dictionaries(
    {
        "temperature": st.sampled_from([0.0, 0.3, 0.8, 1.0, 2.0]),
        "top_k": st.integers(1, 12),
        "top_p": st.sampled_from([0.0, 0.3, 0.9, 1.0]),
        "min_p": st.sampled_from([0.0, 0.05, 0.5]),
        "seed": st.integers(0, 1000),
    }
)


@given(
    arrays.arrays(np.float32, (5, 40), elements=st.floats(-8, 8, width=16)),
    SETTINGS,
    st.sets(st.integers(0, 5)),
)
def test_sampling_from_the_largest_logits_equals_sampling_from_all(
    rows: np.ndarray, settings: dict[str, float], banned_ids: set[int]
) -> None:
    config = SamplingConfig(**settings)  # type: ignore[arg-type]
    full, limited = Sampler(config, 40), Sampler(config, 40)
    for logits in rows:
        ids = np.argsort(-logits, kind="stable")[: config.candidates + len(banned_ids)]
        found = select_top_k(
            ids.tolist(), logits[ids].tolist(), config, limited.next_point(), tuple(banned_ids)
        )
        assert found == full.sample(logits, tuple(banned_ids))


@given(arrays.arrays(np.float32, 40, elements=st.floats(-8, 8, width=16)), SETTINGS, st.data())
def test_sampling_among_a_few_equals_sampling_where_no_other_token_is_possible(
    logits: np.ndarray, settings: dict[str, float], data: st.DataObject
) -> None:
    settings["top_k"] = data.draw(st.sampled_from([0, 3, 39, 40]))
    config = SamplingConfig(**settings)  # type: ignore[arg-type]
    allowed = data.draw(st.sets(st.integers(0, 39), min_size=1))
    others = np.array([token not in allowed for token in range(40)])
    masked = np.where(others, -np.inf, logits).astype(np.float32)
    values = {token: float(logits[token]) for token in allowed}
    assert Sampler(config, 40).sample_among(values) == Sampler(config, 40).sample(masked)


@pytest.mark.parametrize(
    ("settings", "candidates"),
    [
        ({}, 40),
        ({"temperature": 0.0}, 1),
        ({"top_k": 0}, 0),
        ({"repetition_penalty": 1.1}, 0),
        ({"presence_penalty": 0.5}, 0),
        ({"frequency_penalty": -0.5}, 0),
        ({"logit_bias": {3: 1.0}, "temperature": 0.0}, 0),
    ],
)
def test_when_the_largest_logits_suffice(settings: dict[str, float], candidates: int) -> None:
    assert SamplingConfig(**settings).candidates == candidates  # type: ignore[arg-type]


def test_penalties_count_the_tokens_of_the_text() -> None:
    config = SamplingConfig(temperature=0, presence_penalty=1.0, frequency_penalty=0.25, logit_bias={4: 2.0})
    sampler = Sampler(config, 5)
    sampler.count_tokens([0, 0, 0, 1])
    # 0 loses 1 + 3 * 0.25, 1 loses 1.25, 4 gains 2
    assert sampler.sample(np.array([5.0, 4.4, 3.2, 0.0, 0.0], dtype=np.float32)) == 0
    # 0 occurs once more: it loses 2
    assert sampler.sample(np.array([5.0, 4.4, 3.2, 0.0, 0.0], dtype=np.float32)) == 2
    assert sampler.sample(np.array([0.0, 0.0, 0.0, 1.9, 0.0], dtype=np.float32)) == 4


def test_draws_follow_the_distribution() -> None:
    """Chi-squared test of 100,000 draws against probabilities that a plain loop computes."""
    logits = np.linspace(3, -2, 30, dtype=np.float32)[np.random.default_rng(0).permutation(30)]
    config = SamplingConfig(temperature=0.7, top_k=12, top_p=0.95, min_p=0.02, seed=5)
    ordered = sorted(range(30), key=lambda token: (-logits[token], token))[:12]
    weights = [math.exp((float(logits[token]) - float(logits[ordered[0]])) / 0.7) for token in ordered]
    total, reached = sum(weights), 0.0
    expected: dict[int, float] = {}
    for token, weight in zip(ordered, weights, strict=True):
        if reached >= 0.95 * total or weight < 0.02:
            break
        expected[token] = weight
        reached += weight
    sampler, draws = Sampler(config, 30), 100_000
    values = [float(logits[token]) for token in ordered]
    drawn = [select_top_k(ordered, values, config, sampler.next_point()) for _ in range(draws)]
    counts = np.bincount(drawn, minlength=30)
    assert set(np.flatnonzero(counts)) == set(expected)
    shares = {token: weight / sum(expected.values()) for token, weight in expected.items()}
    statistic = sum((counts[token] - draws * share) ** 2 / (draws * share) for token, share in shares.items())
    degrees = len(expected) - 1
    assert statistic < degrees + 4 * math.sqrt(2 * degrees)  # four standard deviations
