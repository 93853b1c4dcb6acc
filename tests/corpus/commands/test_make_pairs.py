"""Pairs made from templates."""

import itertools
import random
from pathlib import Path

import pytest

pytest.importorskip("hassil", reason="needs the extra `commands`")

from tinyedge.core.errors import CorpusError
from tinyedge.corpus.commands.answer import UNKNOWN, parse_answer
from tinyedge.corpus.commands.expand import draw_number, expand
from tinyedge.corpus.commands.home import split_words
from tinyedge.corpus.commands.make_pairs import CommandPair, make_pairs
from tinyedge.corpus.commands.source import load_templates
from tinyedge.corpus.commands.templates import TemplateSet, is_template_file, parse_templates, read_folder

SHARED = Path(__file__).parents[4] / "shared/commands"
TEXTS = [
    ("en", "The old man carried seven heavy baskets."),
    ("es", "La vecina compró quince naranjas dulces."),
]


@pytest.fixture(scope="module")
def builtin() -> TemplateSet:
    return load_templates("builtin", Path("unused"))


@pytest.fixture(scope="module")
def pairs(builtin: TemplateSet) -> list[CommandPair]:
    return list(make_pairs(builtin, 1500, seed=3, texts=TEXTS))


def parse(texts: dict[str, str]) -> TemplateSet:
    return parse_templates(texts, "here")


def sentence_file(*templates: str, more: str = "") -> str:
    listed = "".join(f'      - "{template}"\n' for template in templates)
    return f"language: en\ndata:\n  - sentences:\n{listed}{more}"


def test_the_same_seed_gives_the_same_pairs(builtin: TemplateSet, pairs: list[CommandPair]) -> None:
    again = list(make_pairs(builtin, 50, seed=3, texts=TEXTS))
    assert again == pairs[:50]
    assert list(make_pairs(builtin, 50, seed=4, texts=TEXTS)) != again


def test_equal_prompts_have_equal_answers_and_most_are_different(pairs: list[CommandPair]) -> None:
    answers: dict[str, str] = {}
    assert all(answers.setdefault(pair.prompt, text := pair.command.to_text()) == text for pair in pairs)
    assert len(answers) > 0.8 * len(pairs)


def test_every_name_in_an_answer_stands_in_its_prompt(pairs: list[CommandPair]) -> None:
    """So a model can copy each of them, and learns to."""
    for pair in pairs:
        listed = {entry.partition("=")[2] for entry in pair.prompt.split("; ")[:-1]}
        texts = {"HassStartTimer", "HassCancelTimer", "HassMediaSearchAndPlay", "HassShoppingListAddItem"}
        for slot in ("name", "area", "floor"):
            value = pair.command.slots.get(slot)
            if value is not None and not (slot == "name" and pair.command.intent in texts):
                assert value in listed, pair


def test_free_text_in_an_answer_stands_in_the_sentence(pairs: list[CommandPair]) -> None:
    copied = [
        (str(value), pair)
        for pair in pairs
        for slot, value in pair.command.slots.items()
        if slot in ("item", "search_query") or (slot == "name" and "Timer" in pair.command.intent)
    ]
    assert len(copied) > 50
    assert all(value in pair.sentence for value, pair in copied)


def test_both_languages_and_all_intents_occur(builtin: TemplateSet, pairs: list[CommandPair]) -> None:
    intents = {entry.intent for entry in builtin.combinations}
    for language in ("en", "es"):
        assert {pair.command.intent for pair in pairs if pair.language == language} >= intents | {UNKNOWN}


def test_about_a_third_is_unknown_with_and_without_names_of_the_home(pairs: list[CommandPair]) -> None:
    unknown = [pair for pair in pairs if pair.command.intent == UNKNOWN]
    assert 0.25 < len(unknown) / len(pairs) < 0.38
    named = sum("; " in pair.prompt for pair in unknown)
    assert 0.05 < named / len(unknown) < 0.7  # a name in the prompt does not make a command


def test_an_answer_is_valid_text_without_line_breaks(pairs: list[CommandPair]) -> None:
    for pair in pairs:
        text = pair.command.to_text()
        assert "\n" not in text + pair.prompt
        parsed = parse_answer(text)
        assert parsed is not None
        assert dict(parsed.slots) == dict(pair.command.slots)


def test_held_out_sentences_are_clean_known_and_never_in_training(
    builtin: TemplateSet, pairs: list[CommandPair]
) -> None:
    held_out = list(make_pairs(builtin, 300, seed=3, held_out=True, texts=TEXTS))
    assert all(pair.command.intent != UNKNOWN for pair in held_out)
    trained = {" ".join(split_words(pair.sentence)) for pair in pairs}
    assert not trained & {" ".join(split_words(pair.sentence)) for pair in held_out}


def test_a_sentence_fills_the_slots_that_its_template_names() -> None:
    templates = parse(
        {
            "sentences/en/Go/x.yaml": sentence_file("(run|walk) [very] fast {speed:pace} {where}[ now]"),
            "lists/en/a.yaml": "lists:\n  speed: {range: {from: 7, to: 7}}\n"
            "  where: {values: [{in: 'up[wards]', out: 1}]}\n",
        }
    )
    (combination,) = templates.combinations
    rng = random.Random(0)
    drawn = [expand(combination.templates[0], templates, "en", rng, {}) for _ in range(400)]
    assert all(entry.slots == {"pace": 7, "where": 1} for entry in drawn)
    expected = {
        " ".join(filter(None, words))
        for words in itertools.product(
            ("run", "walk"), ("", "very"), ("fast",), ("7", "seven"), ("up", "upwards"), ("", "now")
        )
    }
    assert {entry.text for entry in drawn} == expected


def test_the_parts_of_a_permutation_come_in_any_order() -> None:
    templates = parse({"sentences/en/Go/x.yaml": sentence_file("(off;the lamp)")})
    drawn = {
        expand(templates.combinations[0].templates[0], templates, "en", random.Random(seed), {}).text
        for seed in range(20)
    }
    assert drawn == {"off the lamp", "the lamp off"}


def test_numbers_are_of_the_range_in_digits_or_words_and_multiplied() -> None:
    rng = random.Random(1)
    drawn = [draw_number({"from": 1, "to": 100, "multiplier": -1}, "es", rng) for _ in range(500)]
    assert all(-100 <= value <= -1 for _, value in drawn)
    assert ("veinte", -20) in drawn or ("20", -20) in drawn
    assert any(said.isalpha() for said, _ in drawn)
    halves = [draw_number({"from": 0, "to": 30, "fractions": "halves"}, "en", rng) for _ in range(300)]
    assert any(said.endswith(".5") and float(said) == value for said, value in halves)


def test_a_group_of_domains_is_read_from_the_schema_and_a_lean_copy_is_left_out() -> None:
    templates = parse(
        {
            "intents.yaml": "Go: {slot_combinations: {x: {name_domain_groups: {default: [light, fan]}}}}",
            "sentences/en/Go/x.yaml": sentence_file("a {name}", more="    name_domains: default\n")
            + '  - sentences: ["b {name}"]\n    speech_to_phrase: true\n',
        }
    )
    (template,) = templates.combinations[0].templates
    assert template.source == "a {name}"
    assert template.name_domains == ("light", "fan")


def test_only_files_of_the_two_languages_are_templates() -> None:
    assert is_template_file("sentences/en/HassTurnOn/name_only.yaml")
    assert is_template_file("lists/timers.yaml")
    assert is_template_file("intents.yaml")
    assert not is_template_file("sentences/de/HassTurnOn/name_only.yaml")
    assert not is_template_file("tests/en/HassTurnOn/name_only.yaml")
    assert not is_template_file("sentences/en/README.md")


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"sentences/en/Go/x.yaml": sentence_file("a (b")}, "x.yaml: 'a \\(b' is not a template"),
        ({"sentences/en/Go/x.yaml": "data: ["}, "x.yaml is not YAML"),
        ({"lists/en/a.yaml": "lists: {}"}, "no templates"),
    ],
)
def test_a_wrong_file_is_named(texts: dict[str, str], message: str) -> None:
    with pytest.raises(CorpusError, match=message):
        parse(texts)


def test_a_folder_without_sentences_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CorpusError, match="no folder `sentences`"):
        read_folder(tmp_path)


@pytest.mark.skipif(not SHARED.exists(), reason="Home Assistant's templates are not here")
def test_home_assistants_own_templates_make_pairs_of_all_their_intents() -> None:
    templates = read_folder(SHARED)
    intents = {entry.intent for entry in templates.combinations}
    assert len(intents) > 40
    pairs = list(make_pairs(templates, 3000, seed=0, texts=TEXTS))
    missing = intents - {pair.command.intent for pair in pairs}
    assert not missing
