"""Tables: as wide as they are in a file, in parts on a narrow terminal."""

import pytest

from tinyedge.core.columns import cell_width, format_columns

ROWS = [
    ["run", "bits/byte", "en", "es", "status", "learning_rate"],
    ["data/previous/20261129-013030-123456", "1.9000", "1.8", "2.0", "finished", "0.003"],
    ["데이터", "1.8000", "1.7", "1.9", "stopped", "0.01"],
]


def test_a_file_gets_one_table() -> None:
    assert [len(line.split()) for line in format_columns(ROWS, left=(0,)).splitlines()] == [6, 6, 6]


@pytest.mark.parametrize("width", [40, 60, 79])
def test_a_narrow_terminal_gets_parts_that_repeat_the_names(width: int) -> None:
    parts = [part.splitlines() for part in format_columns(ROWS, (0,), width).split("\n\n")]
    assert len(parts) > 1
    for part in parts:
        assert [line.split()[0] for line in part] == ["run", part[1].split()[0], "데이터"]
        assert all(cell_width(line) <= width for line in part)
    name = parts[0][1].split()[0]
    assert name.startswith("data/prev")
    assert name.endswith("123456")
    for number, row in enumerate(ROWS):
        assert [cell for part in parts for cell in part[number].split()[1:]] == row[1:]


def test_a_table_that_fits_stays_whole() -> None:
    assert format_columns(ROWS, (0,), 200) == format_columns(ROWS, (0,))
