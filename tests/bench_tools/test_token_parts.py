"""The parts of a token: symbols of a library, the sum of its places, the table and the picture."""

import struct
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest

from bench.twin.counts import Block, Figures
from bench.twin.layout import LATENCY, TwinError
from bench.twin.quoted_tables import draw_pictures
from bench.twin.start_parts import ALL, start_table
from bench.twin.symbols import Functions, read_code
from bench.twin.token_parts import (
    EXTENSION,
    REST,
    engines_table,
    find_part,
    sum_parts,
    sum_places,
    token_table,
)
from bench.twin.token_picture import draw_token

LOADED_AT = 0x10000  # the code's address in memory is larger than its offset in the file


def write_library(path: Path, functions: dict[str, int]) -> Path:
    """A library of 64 bits with these functions, by the offset of their code in the file."""
    names, symbols = b"\0", b""
    for name, offset in functions.items():
        symbols += struct.pack("<IBBHQQ", len(names), 2, 0, 1, offset + LOADED_AT, 12)
        names += name.encode() + b"\0"
    symbols += struct.pack("<IBBHQQ", 0, 0, 0, 1, 0x44 + LOADED_AT, 0)  # no function
    code, start = b"c" * 64, 64
    parts = [
        (0, 0, 0, b"", 0),
        (1, 4, LOADED_AT + start, code, 0),
        (2, 0, 0, symbols, 3),
        (3, 0, 0, names, 0),
    ]
    data, headers = b"\x7fELF\x02\x01".ljust(start, b"\0"), b""
    for kind, flags, address, content, link in parts:
        headers += struct.pack("<IIQQQQIIQQ", 0, kind, flags, address, len(data), len(content), link, 0, 0, 0)
        data += content
    data = (
        data[:0x28] + struct.pack("<Q", len(data)) + data[0x30:0x3A] + struct.pack("<HH", 64, 4) + data[0x3E:]
    )
    path.write_bytes(data + headers)
    return path


@pytest.fixture
def functions(tmp_path: Path) -> Functions:
    return Functions(write_library(tmp_path / "a.so", {"plane_low_neon": 0x50, "attend": 0x40}))


def test_functions_are_found_by_their_places_in_the_file(tmp_path: Path, functions: Functions) -> None:
    found = [functions.find(offset) for offset in (0x3F, 0x40, 0x4B, 0x4C, 0x50, 0x99)]
    assert found == ["", "attend", "attend", "", "plane_low_neon", ""]
    assert read_code(tmp_path / "a.so") == {64: b"c" * 64}


def test_a_library_without_symbols_and_another_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(TwinError, match="has no symbols"):
        Functions(write_library(tmp_path / "a.so", {}))
    (tmp_path / "b.so").write_bytes(b"\x7fELF\x01\x01")
    with pytest.raises(TwinError, match="not an ELF file of 64 bits"):
        Functions(tmp_path / "b.so")


def test_costs_are_summed_by_function_or_file_and_by_part(functions: Functions) -> None:
    extension = f"/root/opt/tinyedge/{EXTENSION}"
    blocks = [
        Block(extension, 0x40, Figures(5000, 4000, streamed_lines=7)),
        Block(extension, 0x48, Figures(1000, 600, 3)),
        Block(extension, 0x50, Figures(9000, 9000, random_lines=1)),
        Block("/root/usr/bin/python3.11", 0x40, Figures(2000, 3000, written_lines=2)),
        Block("/root/lib/libc.so.6", 0x40, Figures(1000, 500)),
        Block("/root/lib/ld.so", 0x40, Figures(1, 1)),
    ]
    places = sum_places(blocks, functions)
    assert places["attend"] == Figures(6000, 4600, 3, streamed_lines=7)
    parts = sum_parts(places)
    assert {name: costs.instructions for name, costs in parts.items()} == {
        "choosing and finishing the largest, the draw": 9000,
        "attention": 6000,
        "Python, with the text of a token": 2000,
        REST: 1001,
    }
    assert list(parts)[-1] == REST


def test_functions_that_are_in_no_part_are_named() -> None:
    with pytest.raises(TwinError, match="in no part: renamed"):
        sum_parts({"renamed": Figures(2000, 2000), "attend": Figures(9000, 9000)})


@pytest.mark.parametrize(
    ("place", "part"),
    [
        ("plane_bounds_neon", "upper bounds of all logits"),
        ("finish_group", "choosing and finishing the largest, the draw"),
        ("finish_block", "norms, GELU, quantization"),
        ("/r/opt/packages/numpy.libs/libscipy_openblas.so", "numpy"),
        ("", REST),
    ],
)
def test_a_place_has_a_part(place: str, part: str) -> None:
    assert find_part(place) == part


def costs(instructions: int, fills: int, ms: float) -> dict[str, float]:
    """Figures of a part that waits 0.04 us for each line, and computes otherwise."""
    waiting = 40 * fills
    cycles = round((ms * 1e6 - waiting) * LATENCY.clock_mhz / 1e3)
    return {
        "instructions": instructions, "core_cycles": cycles, "dram_fills": fills, "memory_ns": waiting,
        "modelled_ms": ms,
    }  # fmt: skip


REPORT: dict[str, Any] = {
    "engines": {
        "kernels": {"token": costs(500_000, 4_000, 0.864), "parts": {"a & b": costs(500_000, 4_000, 0.864)}},
        "onnxruntime": {"token": costs(1_000_000, 0, 1.39), "parts": {"c": costs(1_000_000, 0, 1.39)}},
    }
}


def test_the_table_has_a_row_for_each_part() -> None:
    assert token_table(REPORT).splitlines()[2:] == [
        f"| **engine `kernels`** | 500 k | {0.704 * LATENCY.clock_mhz:.0f} k | 4.0 k | 0.86 ms |",
        f"| a & b | 500 k | {0.704 * LATENCY.clock_mhz:.0f} k | 4.0 k | 0.86 ms |",
        f"| **engine `onnxruntime`** | 1000 k | {1.39 * LATENCY.clock_mhz:.0f} k | 0.0 k | 1.39 ms |",
        f"| c | 1000 k | {1.39 * LATENCY.clock_mhz:.0f} k | 0.0 k | 1.39 ms |",
    ]


def test_the_engines_are_in_one_table() -> None:
    found = {
        "decoded_token": costs(0, 0, 1.235),
        "p95_modelled_ms": 34.44,
        "first_modelled_ms": {"2": 2.2, "87": 8.14},
        "cold_start": costs(416_900_000, 0, 618.7),
    }
    head, _, *rows = engines_table({"engines": {"kernels": found, "onnxruntime": found}}).splitlines()
    assert "first token, prompt of 2 / 87 tokens" in head
    assert rows[1] == "| `onnxruntime` | 1.24 ms | 34.4 ms | 2.2 / 8.1 ms | 0.62 s, 417 M instructions |"
    assert len(rows) == 2


def test_a_start_has_a_column_for_each_engine() -> None:
    starts = {"kernels": {"Python": 24_400_000, ALL: 444_000_000}}
    starts["onnxruntime"] = {"Python": 24_600_000, "numpy": 184_000_000, ALL: 639_000_000}
    report = {"engines": {engine: {"start": start} for engine, start in starts.items()}}
    assert start_table(report).splitlines()[2:] == [
        "| Python | 24 | 25 |",
        "| numpy |  | 184 |",
        "| **exec to the first token** | **444** | **639** |",
    ]


def test_the_bars_are_to_one_scale() -> None:
    picture = ElementTree.fromstring(draw_token(REPORT))
    bars = [float(bar.get("width", 0)) for bar in picture.iter() if bar.get("height") == "20"]
    assert bars == pytest.approx([400 * 0.704 / 1.39, 400 * 0.16 / 1.39, 400, 0], abs=0.1)


def test_the_pictures_are_those_of_the_recorded_reports() -> None:
    for path, picture in draw_pictures().items():
        assert path.read_text(encoding="utf-8") == picture, "run: python -m bench.twin quote"
