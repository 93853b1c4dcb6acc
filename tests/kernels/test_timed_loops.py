"""The timed loops do the work that their times are divided by. No test looks at a time."""

import itertools
from typing import Any

import pytest

PRODUCT_INPUTS, PRODUCT_OUTPUTS = 128, 64


@pytest.mark.parametrize("turns", [1, 7, 64])
def test_each_turn_makes_512_additions(kernels: Any, turns: int) -> None:
    ns, additions = kernels.time_adds(turns)
    assert additions == 512 * turns
    assert ns >= 0


@pytest.mark.parametrize(("lines", "turns"), [(16, 1), (256, 3), (4096, 2), (1 << 19, 1)])
def test_every_word_is_read(kernels: Any, lines: int, turns: int) -> None:
    words = 8 * lines  # word i is i
    assert kernels.time_stream(lines, turns)[1] == turns * words * (words - 1) // 2


@pytest.mark.parametrize("seed", [0, 1, 2, 12345, (1 << 63) - 1])
def test_the_chase_visits_every_line_once(kernels: Any, seed: int) -> None:
    """It finds its start again after `lines` loads, where it looks for it after each 16.

    In a cycle of n lines that is after lcm(n, 16) loads: `lines`, a power of two above 16, for no smaller n.
    """
    for lines, turns in itertools.product([32, 256, 4096], [1, 3]):
        assert kernels.time_chase(lines, turns, seed)[1] == lines * turns
    assert kernels.time_chase(1 << 19, 1, seed)[1] == 1 << 19


def test_the_product_is_that_of_its_weights(kernels: Any) -> None:
    weights = [i * 7 % 63 - 31 for i in range(PRODUCT_INPUTS * PRODUCT_OUTPUTS)]
    row = [k * 5 % 255 - 127 for k in range(PRODUCT_INPUTS)]
    expected = sum((row[i // PRODUCT_OUTPUTS] - 3) * weight for i, weight in enumerate(weights))
    _, found, instructions = kernels.time_products(2)
    assert found == expected
    assert instructions in ("avx512-vnni", "avx-vnni", "avx2", "dotprod", "neon", "plain")


@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("time_adds", (0,)),
        ("time_adds", (65537,)),
        ("time_adds", (1 << 80,)),
        ("time_stream", (8, 1)),
        ("time_stream", (48, 1)),
        ("time_stream", (1 << 20, 1)),
        ("time_stream", (-16, 1)),
        ("time_stream", (16, 0)),
        ("time_chase", (15, 1, 0)),
        ("time_chase", (16, 1, -1)),
        ("time_chase", (16, 1, 1 << 63)),
        ("time_products", (-1,)),
    ],
)
def test_an_argument_outside_its_range_is_a_value_error(
    kernels: Any, name: str, arguments: tuple[int, ...]
) -> None:
    with pytest.raises(ValueError, match=r"is outside|is not a power"):
        getattr(kernels, name)(*arguments)


@pytest.mark.parametrize("arguments", [(), (1, 2, 3, 4), ("1",), (1.0,), (None,)])
def test_a_wrong_call_is_a_type_error(kernels: Any, arguments: tuple[object, ...]) -> None:
    for name in ("time_adds", "time_stream", "time_chase", "time_products"):
        with pytest.raises(TypeError):
            getattr(kernels, name)(*arguments)
