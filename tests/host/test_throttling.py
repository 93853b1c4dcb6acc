"""Throttling bits: read from a program that may fail, and decoded."""

from pathlib import Path

import pytest

from tests.support.recorded_files import write_program
from tinyedge.host import throttling
from tinyedge.host.throttling import Throttling, read_throttling_bits


def test_the_bits_are_read_in_hexadecimal(tmp_path: Path) -> None:
    vcgencmd = write_program(tmp_path / "vcgencmd", "echo throttled=0x50005")
    assert read_throttling_bits(str(vcgencmd)) == 0x50005


@pytest.mark.parametrize("body", ["exit 1", "echo VCHI initialization failed", "echo throttled=", "true"])
def test_a_program_that_fails_gives_none(tmp_path: Path, body: str) -> None:
    assert read_throttling_bits(str(write_program(tmp_path / "vcgencmd", body))) is None


def test_a_missing_program_gives_none(tmp_path: Path) -> None:
    assert read_throttling_bits(str(tmp_path / "vcgencmd")) is None


def test_a_program_that_hangs_gives_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttling, "VCGENCMD_SECONDS", 0.1)
    assert read_throttling_bits(str(write_program(tmp_path / "vcgencmd", "exec sleep 60"))) is None


@pytest.mark.parametrize(
    ("bits", "now", "since_boot", "is_under_voltage"),
    [
        (0x0, (), (), False),
        (0x50005, ("under-voltage", "throttled"), ("under-voltage", "throttled"), True),
        (0xA, ("frequency capped", "soft temperature limit"), (), False),
        (0x10000, (), ("under-voltage",), True),
        (0x20004, ("throttled",), ("frequency capped",), False),
        (0xFFF0FFF0, (), (), False),  # bits without a meaning
    ],
)
def test_bits_are_decoded(
    bits: int, now: tuple[str, ...], since_boot: tuple[str, ...], is_under_voltage: bool
) -> None:
    assert Throttling.from_bits(bits) == Throttling(now, since_boot, is_under_voltage)
