"""The text of an answer."""

import pytest

from tinyedge.corpus.commands.answer import Command, Value, parse_answer


def test_the_text_has_the_slots_in_one_order_whatever_order_they_come_in() -> None:
    slots: dict[str, Value] = {"brightness": 50, "area": "Kitchen", "name": "Lamp"}
    text = '{"intent":"HassLightSet","slots":{"name":"Lamp","area":"Kitchen","brightness":50}}'
    assert Command("HassLightSet", slots).to_text() == text
    assert Command("HassLightSet", dict(reversed([*slots.items()]))).to_text() == text


def test_a_slot_that_is_not_known_stands_at_the_end() -> None:
    assert Command("X", {"zebra": 1, "apple": 2, "seconds": 3}).to_text() == (
        '{"intent":"X","slots":{"seconds":3,"apple":2,"zebra":1}}'
    )


def test_the_implied_domain_is_in_the_text_once() -> None:
    assert (
        Command("HassTurnOn", {}, "light").to_text() == '{"intent":"HassTurnOn","domain":"light","slots":{}}'
    )
    listed = Command("HassTurnOn", {"domain": "light"}, "light")
    assert listed.to_text() == '{"intent":"HassTurnOn","slots":{"domain":"light"}}'


def test_letters_beyond_ascii_stay_as_they_are() -> None:
    assert "Salón" in Command("HassTurnOn", {"area": "Salón"}).to_text()


@pytest.mark.parametrize(
    "command", [Command("unknown"), Command("HassTurnOn", {"area": "Den", "hours": 2}, "light")]
)
def test_a_text_is_read_back(command: Command) -> None:
    assert parse_answer(command.to_text()) == command


@pytest.mark.parametrize(
    "text",
    [
        "",
        "hello",
        "[]",
        '{"intent":"X"}',
        '{"slots":{}}',
        '{"intent":1,"slots":{}}',
        '{"intent":"X","slots":[]}',
        '{"intent":"X","slots":{"a":[]}}',
        '{"intent":"X","slots":{"a":1}',
        '{"intent":"X","domain":1,"slots":{}}',
    ],
)
def test_what_is_no_answer_is_none(text: str) -> None:
    assert parse_answer(text) is None


def test_a_call_has_the_implied_domain_among_its_arguments() -> None:
    assert Command("HassTurnOn", {"area": "Den"}, "light").to_call() == (
        "HassTurnOn",
        {"domain": "light", "area": "Den"},
    )
    assert Command("HassGetCurrentTime").to_call() == ("HassGetCurrentTime", {})
