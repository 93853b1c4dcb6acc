"""The sliding window of a sequence."""

import itertools

import pytest

from tinyedge.core.window import window_start


@pytest.mark.parametrize(
    ("n", "start"),
    [(1, 0), (32, 0), (33, 16), (48, 16), (49, 32), (64, 32), (65, 48), (10_000, 9968)],
)
def test_start_by_the_documented_formula(n: int, start: int) -> None:
    assert window_start(n, 32) == start


@pytest.mark.parametrize("context", [32, 33, 128, 511, 512])
def test_window_fits_keeps_half_and_slides_once_each_half(context: int) -> None:
    starts = [window_start(n, context) for n in range(1, 4 * context)]
    lengths = [n - start for n, start in enumerate(starts, 1)]
    assert max(lengths) == context
    assert min(lengths[context - 1 :]) > context // 2
    slides = [n for n, (one, other) in enumerate(itertools.pairwise(starts), 2) if one != other]
    assert {b - a for a, b in itertools.pairwise(slides)} == {context // 2}
