"""Origins of limits, and values that are refused."""

import dataclasses
import math
from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench.limits import (
    FIGURES,
    NAMES,
    Limits,
    parse_quality_limits,
    parse_regressions,
    read_limits_file,
    resolve,
)
from tinyedge.boards.load import default_board, load_board
from tinyedge.cli._named_files import parse_named_files
from tinyedge.core.errors import UsageError

RECORDED = Path(__file__).parents[2] / "bench" / "gates" / "pi-zero-2w.toml"
BUDGETS = {"max_rss_mb": 300.0, "max_peak_mb": 350.0, "max_p95_ms": 200.0}


def test_flags_win_over_the_file_then_the_bundle_then_the_default_board(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text("[gates]\nmax_rss_mb = 100\nmax_ttft_ms = 50\nmax_p95_ms = 150\n")
    limits, origins = resolve({"max_p95_ms": 99.0}, read_limits_file(file).limits, BUDGETS)
    assert limits == Limits(max_rss_mb=100, max_peak_mb=350, max_p95_ms=99, max_ttft_ms=50)
    assert origins == {
        "max_rss_mb": "file",
        "max_peak_mb": "bundle",
        "max_p95_ms": "flag",
        "max_ttft_ms": "file",
    }
    assert resolve({}, {}, {}) == (Limits(), dict.fromkeys(BUDGETS, "guide"))


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
    limits = read_limits_file(RECORDED).limits
    assert set(limits) == set(NAMES) - {"max_bits_per_byte"}
    assert limits.items() >= load_board(RECORDED.stem).budgets.to_dict().items()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", r"needs a table \[gates\]"),
        ("max_rss_mb = 1", r"needs a table \[gates\]"),
        ("gates = 1", r"needs a table \[gates\]"),
        ("[gates]\n[other]", r"needs a table \[gates\]"),
        ("[gates]\nmax_bits_per_byte = {en = 0}", r"max_bits_per_byte\.en = 0 is not a limit"),
        ("[gates]\nmax_p95_ms = {en = 1}", "max_p95_ms = {'en': 1} is not a limit"),
        ("[regressions]\np96 = 5", r"'p96' in \[regressions\] is unknown"),
        ("[regressions]\np95 = '5%'", "p95 = '5%' is not a limit"),
        ("[regressions]\np95 = -1", "p95 = -1 is not a limit"),
        ("[regressions]\np95 = nan", "p95 = nan is not a limit"),
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


def test_a_file_limits_each_text_and_changes(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text("[gates]\nmax_bits_per_byte = {en = 2.0, es = 1.9}\n[regressions]\np95 = 10\npeak = 0\n")
    found = read_limits_file(file)
    assert found.regressions == {"p95": 10, "peak": 0}
    limits, origins = resolve({}, found.limits, BUDGETS)
    assert [limits.get_max_bits_per_byte(name) for name in ("en", "es", "fr")] == [2.0, 1.9, None]
    assert origins["max_bits_per_byte"] == "file"
    file.write_text("[regressions]\np95 = 10\n")
    assert read_limits_file(file).limits == {}


def test_a_limit_of_the_quality_holds_for_all_texts_or_by_name() -> None:
    assert parse_quality_limits([]) is None
    assert parse_quality_limits(["2.2"]) == 2.2
    assert parse_quality_limits(["en=2.2", "a=b=1.5"]) == {"en": 2.2, "a=b": 1.5}
    assert Limits(max_bits_per_byte=2.2).get_max_bits_per_byte("any") == 2.2


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["two"], "--max-bits-per-byte two is not a limit"),
        (["en="], "--max-bits-per-byte en= is not a limit"),
        (["en=1", "en=2"], "a limit for en is given twice"),
        (["1", "2"], "a limit without a name is given twice"),
        (["1", "en=2"], "mixes a limit for all texts with limits by name"),
    ],
)
def test_an_invalid_limit_of_the_quality_is_named(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_quality_limits(words)


def test_a_limit_by_name_needs_its_text() -> None:
    limits = Limits(max_bits_per_byte={"en": 2.0, "fr": 1.9})
    limits.require_texts(["en", "fr", "es"])
    with pytest.raises(UsageError, match=r"max_bits_per_byte fr=1\.9 has no --text fr=FILE") as failure:
        limits.require_texts(["en"])
    assert failure.value.parameters == ("max_bits_per_byte",)
    with pytest.raises(UsageError, match=r"max_bits_per_byte fr=-1 is not a limit"):
        Limits(max_bits_per_byte={"fr": -1})


def test_a_limit_of_the_file_is_blamed_on_the_file() -> None:
    file = Path("gates.toml")
    with pytest.raises(
        UsageError, match=r"^--gates gates\.toml: max_bits_per_byte\.en has no --text en=FILE"
    ):
        Limits(max_bits_per_byte={"en": 2}).require_texts([], file)
    with pytest.raises(UsageError, match=r"^--gates gates\.toml: max_bits_per_byte needs --text"):
        Limits(max_bits_per_byte=2).require_texts([], file)


def test_an_error_says_the_range_and_the_type_and_cuts_the_value(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    with pytest.raises(UsageError) as flag:
        Limits(max_p95_ms=1e308)
    assert flag.value.hint == "use a number above 0, at most 1e+15"
    for text, hint in (
        ("[gates]\nmax_p95_ms = '250'", "use a number above 0, at most 1e+15, without quotes"),
        ("[gates]\nmax_p95_ms = inf", "use a number above 0, at most 1e+15"),
        ("[regressions]\np95 = '5'", "use a number from 0 to 1000 (percent), without quotes"),
        (f"[gates]\nmax_p95_ms = '{'9' * 5000}'", "use a number above 0, at most 1e+15, without quotes"),
    ):
        file.write_text(text)
        with pytest.raises(UsageError) as failure:
            read_limits_file(file)
        assert failure.value.hint == hint
        assert len(failure.value.message) < len(str(file)) + 90
    for parse in (parse_quality_limits, parse_regressions):
        with pytest.raises(UsageError) as failure:
            parse(["p95=" + "x" * 5000])
        assert len(failure.value.message) < 90
        assert failure.value.hint.startswith("use a number ")


def test_a_file_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    file = tmp_path / "gates.toml"
    file.write_text("[gates]\nmax_p95_ms = 99\n", encoding="utf-8-sig")
    assert read_limits_file(file).limits == {"max_p95_ms": 99}


def test_two_spellings_of_an_accent_are_one_name(tmp_path: Path) -> None:
    one, two = "caf\u00e9", "cafe\u0301"
    file = tmp_path / "gates.toml"
    file.write_text(f"[gates]\nmax_bits_per_byte = {{'{two}' = 2}}", encoding="utf-8")
    assert read_limits_file(file).limits == {"max_bits_per_byte": {one: 2}}
    file.write_text(f"[gates]\nmax_bits_per_byte = {{'{one}' = 2, '{two}' = 3}}", encoding="utf-8")
    with pytest.raises(UsageError, match="is given twice"):
        read_limits_file(file)
    assert parse_quality_limits([f"{two}=2"]) == {one: 2}
    with pytest.raises(UsageError, match="is given twice"):
        parse_quality_limits([f"{one}=2", f"{two}=3"])
    assert list(parse_named_files([f"{two}=a.txt"])) == [one]
    with pytest.raises(UsageError, match="is given twice"):
        parse_named_files([f"{one}=a.txt", f"{two}=b.txt"])


def test_limits_of_changes_are_percent_by_figure() -> None:
    assert parse_regressions(["p95=10%", "ttft=5", "peak=0%"]) == {"p95": 10, "ttft": 5, "peak": 0}
    assert parse_regressions([f"{name}=1%" for name in FIGURES]) == dict.fromkeys(FIGURES, 1)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["p95"], "--max-regression p95 is not a limit"),
        (["p95=ten"], "--max-regression p95=ten is not a limit"),
        (["p95=-1%"], "--max-regression p95=-1% is not a limit"),
        (["p95=nan"], "--max-regression p95=nan is not a limit"),
        (["p99=10%"], "'p99' is not a figure"),
        (["p95=1%", "p95=2%"], "p95 is given twice"),
    ],
)
def test_an_invalid_limit_of_a_change_is_named(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        parse_regressions(words)
