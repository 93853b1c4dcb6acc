"""Origins of limits, and values that are refused."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench.limits import NAMES, Limits, read_limits_file, resolve
from tinyedge.boards.load import default_board, load_board
from tinyedge.core.errors import UsageError

RECORDED = Path(__file__).parents[2] / "bench" / "gates" / "pi-zero-2w.toml"
BUDGETS = {"max_rss_mb": 300.0, "max_peak_mb": 350.0, "max_p95_ms": 200.0}


def test_flags_win_over_the_file_then_the_bundle_then_the_default_board(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text("[gates]\nmax_rss_mb = 100\nmax_ttft_ms = 50\nmax_p95_ms = 150\n")
    limits, origins = resolve({"max_p95_ms": 99.0}, file, BUDGETS)
    assert limits == Limits(max_rss_mb=100, max_peak_mb=350, max_p95_ms=99, max_ttft_ms=50)
    assert origins == {
        "max_rss_mb": "file",
        "max_peak_mb": "bundle",
        "max_p95_ms": "flag",
        "max_ttft_ms": "file",
    }
    assert resolve({}, None, {}) == (Limits(), dict.fromkeys(BUDGETS, "guide"))


def test_the_default_limits_are_the_budgets_of_the_default_board() -> None:
    given = {name: value for name, value in dataclasses.asdict(Limits()).items() if value is not None}
    assert (
        given
        == default_board().budgets.to_dict()
        == {"max_rss_mb": 400, "max_peak_mb": 512, "max_p95_ms": 250}
    )


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
@pytest.mark.parametrize("name", NAMES)
def test_an_invalid_limit_is_named(name: str, value: float) -> None:
    with pytest.raises(UsageError, match=f"{name} .* is not a limit") as failure:
        Limits(**{name: value})
    assert failure.value.parameters == (name,)


def test_the_recorded_file_has_the_budgets_of_its_board_and_all_limits_that_need_no_text() -> None:
    limits = read_limits_file(RECORDED)
    assert set(limits) == set(NAMES) - {"max_bits_per_byte"}
    assert limits.items() >= load_board(RECORDED.stem).budgets.to_dict().items()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"needs one table \[gates\]"),
        ("max_rss_mb = 1", r"needs one table \[gates\]"),
        ("gates = 1", r"needs one table \[gates\]"),
        ("[gates]\n[other]", r"needs one table \[gates\]"),
        ("[gates]\nmax_rss = 1", "'max_rss' is unknown"),
        ("[gates]\nmax_rss_mb = '1'", "max_rss_mb = '1' is not a limit"),
        ("[gates]\nmax_rss_mb = true", "max_rss_mb = True is not a limit"),
        ("[gates]\nmax_rss_mb = nan", "max_rss_mb = nan is not a limit"),
        ("[gates]\nmax_rss_mb = -1", "max_rss_mb = -1 is not a limit"),
        ("[gates]\nmax_rss_mb = 1\nmax_rss_mb = 2", "is not TOML"),
        ("[gates", "is not TOML"),
        (b"\xff\xfe", "is not TOML"),
        ("#" * (1 << 17), "is larger than"),
    ],
)
def test_an_invalid_file_is_named(tmp_path: Path, text: Any, complaint: str) -> None:
    file = tmp_path / "gates.toml"
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UsageError, match=complaint) as failure:
        read_limits_file(file)
    assert str(file) in failure.value.message


def test_a_path_that_is_not_a_file(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "none"):
        with pytest.raises(UsageError, match="is not a file"):
            read_limits_file(path)
