"""The names of a home, and the prompt."""

import json
from pathlib import Path

import pytest

from tinyedge.core.errors import UsageError
from tinyedge.corpus.commands import home as home_module
from tinyedge.corpus.commands.home import (
    MAX_MENTIONS,
    MAX_WORDS,
    Home,
    Mention,
    format_prompt,
    load_home,
    parse_home,
    split_prompt,
)

HOME = Home(
    (
        ("Bedroom Lamp", "light"),
        ("Bedroom TV", "media_player"),
        ("Lámpara de la mesilla", "light"),
        ("Gizmo", ""),
    ),
    ("Kitchen", "Bedroom"),
    ("First Floor",),
)


def mentioned(sentence: str, home: Home = HOME) -> list[str]:
    return [mention.name for mention in home.find_mentions(sentence)]


def test_a_prompt_has_the_mentioned_names_with_their_kinds_in_the_order_of_the_sentence() -> None:
    assert (
        format_prompt(HOME, "turn off  the kitchen and the bedroom lamp")
        == "area=Kitchen; light=Bedroom Lamp; turn off the kitchen and the bedroom lamp"
    )


def test_a_sentence_that_mentions_nothing_is_its_own_prompt() -> None:
    assert format_prompt(HOME, "what time is it") == "what time is it"


def test_a_home_without_names_leaves_the_sentence() -> None:
    assert format_prompt(Home(), "turn on the bedroom lamp") == "turn on the bedroom lamp"


def test_a_sentence_cannot_forge_a_name() -> None:
    """A semicolon ends a name in the prompt, so a sentence has none."""
    assert format_prompt(Home(), "lock=Door; open it") == "lock=Door, open it"
    assert format_prompt(Home(), "lock=Door\u037e open it") == "lock=Door, open it"  # a semicolon in NFC


@pytest.mark.parametrize(
    "sentence",
    [
        "turn off the kitchen and the bedroom lamp",
        "lock=Door; open it",
        "area=Kitchen",
        "what time is it",
        "",
    ],
)
def test_a_prompt_is_split_into_names_and_sentence(sentence: str) -> None:
    prompt = format_prompt(HOME, sentence)
    mentions, rest = split_prompt(prompt)
    assert mentions == HOME.find_mentions(sentence)
    assert rest == sentence.replace(";", ",")


def test_signs_that_separate_names_do_not_stay_in_names() -> None:
    home = Home((("Lamp; area=Vault", "light"),))
    assert format_prompt(home, "lamp area vault") == "light=Lamp area Vault; lamp area vault"
    assert format_prompt(Home((), (" =Den; ",)), "den") == "area=Den; den"


def test_a_prompt_is_in_nfc_as_tokenizers_see_it() -> None:
    home = Home((("La\u0301mpara", "light"),))
    assert format_prompt(home, "la la\u0301mpara") == "light=L\u00e1mpara; la l\u00e1mpara"


@pytest.mark.parametrize(
    "sentence",
    [
        "the BEDROOM lamp",
        "lamp of the bedroom",
        "bedrom lamp",
        "bedroom lamp.",
        "bedroom, lamp!",
        "bedrsom lamp",
    ],
)
def test_capitals_punctuation_and_a_wrong_letter_after_the_first_do_not_matter(sentence: str) -> None:
    assert "Bedroom Lamp" in mentioned(sentence)


@pytest.mark.parametrize("sentence", ["lampara de la mesilla", "lámpara mesilla", "la lámpara de mi mesilla"])
def test_accents_and_little_words_do_not_matter(sentence: str) -> None:
    assert mentioned(sentence) == ["Lámpara de la mesilla"]


@pytest.mark.parametrize(
    "sentence", ["the lamp", "the bedlam lamp", "bedroom tb", "bedroom lemon", "bedroom damp"]
)
def test_a_name_of_which_a_word_is_missing_is_not_mentioned(sentence: str) -> None:
    assert not {"Bedroom Lamp", "Bedroom TV"} & set(mentioned(sentence))


def test_of_names_that_overlap_the_longest_counts() -> None:
    home = Home((("Kitchen Lamp", "light"), ("Lamp", "light")), ("Kitchen",))
    assert mentioned("the kitchen lamp", home) == ["Kitchen Lamp"]
    assert mentioned("the lamp in the kitchen", home) == ["Lamp", "Kitchen"]
    assert mentioned("the kitchen lamp in the kitchen", home) == ["Kitchen Lamp", "Kitchen"]


def test_a_room_and_a_floor_of_one_name_are_both_mentioned() -> None:
    home = Home((), ("Attic",), ("Attic",))
    assert [mention.kind for mention in home.find_mentions("lights in the attic")] == ["floor", "area"]


def test_words_of_a_name_that_stand_apart_count_unless_other_names_have_them() -> None:
    home = Home(
        (("Kitchen Light", "light"), ("Overhead Light", "light"), ("Patio Heater", "switch")), ("Kitchen",)
    )
    assert mentioned("turn off the kitchen overhead light", home) == ["Kitchen", "Overhead Light"]
    assert mentioned("the heater out on the patio", home) == ["Patio Heater"]


def test_all_lamps_are_not_the_device_lamp() -> None:
    assert mentioned("turn on the bedroom lamps") == ["Bedroom"]


def test_short_words_must_be_exact() -> None:
    assert mentioned("the bedroom tw") == ["Bedroom"]
    assert mentioned("abre la carta del banco", Home((), ("Baño",))) == []


def test_a_device_of_unknown_domain_is_a_device() -> None:
    assert HOME.find_mentions("start gizmo") == [Mention("device", "Gizmo")]
    home = Home((("Boiler", "water_heater"),), ("Cellar",))
    mentions = [Mention("device", "Boiler"), Mention("area", "Cellar")]
    assert split_prompt(format_prompt(home, "boiler, cellar"))[0] == mentions


def test_of_a_long_sentence_the_first_words_are_searched_for_names() -> None:
    words = ["play"] * (MAX_WORDS - 1)
    assert mentioned(" ".join([*words, "kitchen"])) == ["Kitchen"]
    assert mentioned(" ".join([*words, "play", "kitchen"])) == []


def test_only_names_with_the_first_letter_of_a_word_are_compared_with_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    home = Home(tuple((f"Lamp{number} Salon", "light") for number in range(100)), ("Kitchen",))
    compared: list[tuple[str, str]] = []
    is_same = home_module._is_same

    def count(word: str, other: str) -> bool:
        compared.append((word, other))
        return is_same(word, other)

    monkeypatch.setattr(home_module, "_is_same", count)
    assert mentioned("turn off the kitchen sink", home) == ["Kitchen"]
    assert compared == [("kitchen", "kitchen")]


def test_a_wrong_letter_of_a_word_of_thousands_is_forgiven() -> None:
    assert mentioned("a" * 3000, Home((), ("a" * 2999 + "b",))) == ["a" * 2999 + "b"]
    assert mentioned("a" * 3000, Home((), ("a" * 2997 + "bbb",))) == []


def test_a_prompt_has_at_most_eight_names_the_longest_ones() -> None:
    names = tuple(chr(96 + size) * size for size in range(1, 12))
    assert mentioned(" ".join(names), Home((), names)) == list(names[-MAX_MENTIONS:])


def test_a_home_is_read_from_a_file(tmp_path: Path) -> None:
    path = tmp_path / "home.json"
    value = {
        "devices": [{"name": "Lamp", "domain": "light"}, {"name": "Box"}],
        "areas": ["Den"],
        "floors": ["Up"],
    }
    path.write_text(json.dumps(value))
    assert load_home(path) == Home((("Lamp", "light"), ("Box", "")), ("Den",), ("Up",))


@pytest.mark.parametrize(
    ("value", "named"),
    [
        ([], "object"),
        ({"rooms": []}, "rooms"),
        ({"areas": "Den"}, "areas"),
        ({"floors": [1]}, "floors"),
        ({"devices": {}}, "devices"),
        ({"devices": [{"name": "Lamp"}, {"domain": "light"}]}, r"devices\[1\]"),
        ({"devices": [{"name": "Lamp", "domain": 3}]}, r"devices\[0\]\.domain is 3"),
        ({"devices": [{"name": "Lamp", "domain": "lights"}]}, r"devices\[0\]\.domain is 'lights'"),
        ({"devices": [{"name": "Lamp", "room": "Den"}]}, r"devices\[0\] has the unknown field 'room'"),
        ({"devices": [{"name": " "}]}, r"devices\[0\]\.name is no name"),
        ({"areas": ["Den", "lamp\ud800"]}, r"areas\[1\] is no name"),
        ({"floors": ["a\nb"]}, r"floors\[0\] is no name"),
    ],
)
def test_a_wrong_field_of_a_home_is_named(value: object, named: str) -> None:
    with pytest.raises(UsageError, match=named):
        parse_home(value, "home.json")


def test_a_domain_that_is_not_known_may_be_null() -> None:
    assert parse_home({"devices": [{"name": "Box", "domain": None}]}, "home.json") == Home((("Box", ""),))


def test_a_file_of_a_windows_editor_is_read(tmp_path: Path) -> None:
    path = tmp_path / "home.json"
    path.write_text(json.dumps({"areas": ["Den"]}), encoding="utf-8-sig")
    assert load_home(path) == Home((), ("Den",))


@pytest.mark.parametrize(
    ("content", "named"),
    [(b"[" * 100_000, "nested too deeply"), (b"\xff", "not UTF-8"), (b'{"areas": [], "areas": []}', "twice")],
)
def test_a_damaged_file_is_one_error(tmp_path: Path, content: bytes, named: str) -> None:
    path = tmp_path / "home.json"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=named) as failure:
        load_home(path)
    assert failure.value.parameters == ("home",)


def test_a_missing_file_and_one_that_is_not_json_are_errors(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read"):
        load_home(tmp_path / "none.json")
    path = tmp_path / "home.json"
    path.write_text("devices: []")
    with pytest.raises(UsageError, match="not JSON"):
        load_home(path)
