"""SOURCE_DATE_EPOCH is the only date in files that are hashed."""

import pytest

from tinyedge.core.errors import UsageError
from tinyedge.core.source_date import read_source_date


@pytest.mark.parametrize(
    ("value", "date"),
    [("", None), ("0", "1970-01-01T00:00:00+00:00"), ("1700000000", "2023-11-14T22:13:20+00:00")],
)
def test_the_variable_is_a_date_in_utc(value: str, date: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    assert read_source_date() == date


@pytest.mark.parametrize("value", ["yesterday", "1.5", "9" * 30])
def test_anything_else_is_refused(value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", value)
    with pytest.raises(UsageError, match="SOURCE_DATE_EPOCH"):
        read_source_date()
