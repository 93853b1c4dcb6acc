"""One declaration per setting: what `check_settings` accepts, and how it names what it does not."""

import dataclasses
import math
from typing import Any

import pytest

from tinyedge.core.errors import UsageError
from tinyedge.core.settings import check_settings, format_range, get_ranges, require_range, setting


@dataclasses.dataclass(frozen=True)
class Oven:
    degrees: int = setting(180, low=30, high=300, help="Temperature.")
    hours: float | None = setting(None, low=0.0, high=9.5, exclusive=True, unit="hours", help="Time.")
    mode: str = setting("fan", choices=("fan", "grill"), help="Heat.")
    light: bool = setting(True, help="Lamp.")
    timer: bool | None = setting(None, help="Timer.")
    label: str = setting("oven", help="Name on the display.")
    note: str | None = setting(None, help="Second line of the display.")
    name: str = "free"

    def __post_init__(self) -> None:
        check_settings(self)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"degrees": 29}, "degrees 29 is outside 30-300"),
        ({"degrees": 301}, "degrees 301 is outside 30-300"),
        ({"degrees": 180.0}, "degrees 180.0 is not a whole number"),
        ({"degrees": True}, "degrees True is not a whole number"),
        ({"degrees": None}, "degrees None is not a whole number"),
        ({"hours": 0}, "hours 0 is outside 0-9.5 hours, 0 excluded"),
        ({"hours": math.nan}, "hours nan is outside 0-9.5 hours, 0 excluded"),
        ({"hours": "2"}, "hours '2' is not a number"),
        ({"mode": "steam"}, "mode steam is unknown"),
        ({"mode": None}, "mode None is unknown"),
        ({"light": "no"}, "light 'no' is not True or False"),
        ({"light": 1}, "light 1 is not True or False"),
        ({"light": None}, "light None is not True or False"),
        ({"timer": ""}, "timer '' is not True or False"),
        ({"label": 5}, "label 5 is not a string"),
        ({"label": None}, "label None is not a string"),
        ({"note": b"x"}, "note b'x' is not a string"),
    ],
)
def test_an_invalid_value_names_its_parameter(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        Oven(**values)
    assert caught.value.message == message
    assert caught.value.parameters == tuple(values)


def test_both_ends_of_a_range_are_inside_unless_the_low_one_is_excluded() -> None:
    for degrees in (30, 300):
        Oven(degrees=degrees)
    Oven(hours=None, name="anything")
    Oven(hours=9.5)
    Oven(hours=1)
    Oven(light=False, timer=True, label="", note="x")
    require_range("x", 0, 0, 1)


def test_ranges_are_read_from_the_fields() -> None:
    assert get_ranges(Oven) == {"degrees": (30, 300), "hours": (0.0, 9.5)}
    assert format_range(1e-6, 1.0) == "1e-06-1"
    assert format_range(0, 2**31 - 1) == "0-2147483647"
