"""The judge of home commands."""

import json
from pathlib import Path

import pytest

from bench.commands.judge import (
    Case,
    complete_homes,
    has_slots,
    judge,
    read_cases,
    read_homes,
    read_sentences,
)
from bench.commands.quote import format_costs, format_failures, format_scores
from tinyedge.corpus.commands.answer import Command
from tinyedge.corpus.commands.home import Home

FOLDER = Path(__file__).parents[2] / "bench/commands"


@pytest.mark.parametrize(
    ("found", "expected", "right"),
    [
        ({"name": "TV"}, {"name": "tv "}, True),
        ({"name": "TV"}, {"name": "TV", "area": "Den"}, False),
        ({"name": "TV", "area": "Den"}, {"name": "TV"}, False),
        ({"hours": 1}, {"hours": 1.0}, True),
        ({"hours": 1}, {"hours": 2}, False),
        ({"name": "pizza"}, {"name": ["pizza ", "pizzas"]}, True),
        ({"name": "pasta"}, {"name": ["pizza ", "pizza"]}, False),
        ({"volume_step": "up"}, {"volume_step": 20}, False),
        ({}, {}, True),
    ],
)
def test_slots_are_right_if_none_is_missing_wrong_or_extra(
    found: dict[str, str | int], expected: dict[str, object], right: bool
) -> None:
    assert has_slots(found, expected) is right


def test_answers_are_counted_by_language_and_failures_listed() -> None:
    cases = [
        Case("en", "lamp on", "HassTurnOn", {"name": "Lamp"}),
        Case("en", "lamp off", "HassTurnOff", {"name": "Lamp"}),
        Case("en", "lamp red", "HassLightSet", {"name": "Lamp", "color": "red"}),
        Case("es", "hola", "unknown", {}),
    ]
    answers = {
        "lamp on": Command("HassTurnOn", {"name": "lamp"}),
        "lamp off": Command("HassTurnOff", {"name": "Lump"}),
        "hola": Command("unknown"),
    }
    scores = judge(cases, lambda case: (answers.get(case.sentence), "the text"))
    english, spanish = scores["en"].to_json(), scores["es"].to_json()
    assert (english["n"], english["intent"], english["exact"]) == (3, round(2 / 3, 4), round(1 / 3, 4))
    assert [failure["sentence"] for failure in english["failures"]] == ["lamp off", "lamp red"]
    assert english["failures"][0]["answer"] == "the text"
    assert (spanish["exact"], spanish["failures"]) == (1.0, [])


def test_the_sets_are_complete_and_their_names_are_in_the_homes() -> None:
    homes = read_homes(FOLDER / "homes.json")
    paraphrases = read_cases(FOLDER / "paraphrases.jsonl")
    assert len(paraphrases) == 200
    for case in paraphrases:
        said = {mention.name for mention in homes[case.language].find_mentions(case.sentence)}
        named = {case.slots[slot] for slot in ("area", "floor") if slot in case.slots}
        assert named <= said, case
    for language in ("en", "es"):
        sentences = [
            case.sentence for case in read_sentences(FOLDER / f"out_of_domain_{language}.txt", language)
        ]
        assert len(sentences) == len(set(sentences)) == 250


def test_a_home_gets_the_names_that_its_sentences_need() -> None:
    homes = {"en": Home((("TV", "media_player"),), ("Den",))}
    cases = [
        Case("en", "", "HassLightSet", {"name": "Lamp", "brightness": 1}),
        Case("en", "", "HassTurnOn", {"name": ["Box ", "Boxes"], "area": "den", "floor": "Up"}),
        Case("en", "", "HassTurnOff", {"name": "tv"}),
        Case("en", "", "HassStartTimer", {"name": "pizza", "area": "Hall"}),
    ]
    completed = complete_homes(homes, cases)["en"]
    assert completed == Home(
        (("TV", "media_player"), ("Lamp", "light"), ("Box", "")), ("Den", "Hall"), ("Up",)
    )


def test_a_report_becomes_tables() -> None:
    failure = {"sentence": "a | b", "expected": "{}", "answer": "x"}
    score = {"n": 4, "intent": 0.75, "exact": 0.5, "failures": [failure] * 9}
    report = {
        "sets": {"paraphrases": {"model": {"en": score}, "matcher": {"en": score | {"exact": 0.0}}}},
        "wrong_actions": {"model": 0.012},
    }
    table = format_scores(report)
    assert "| the model | en | 4 | 75.0% | 50.0% |" in table
    assert "| hassil | en | 4 | 75.0% | 0.0% |" in table
    assert "the model 1.2%" in table
    assert format_failures(report).count("a / b") == 6


def test_costs_become_a_table() -> None:
    times = {"p50": 20.04, "p95": 40.6, "max": 60.0}
    costs = {"n": 9, "modelled_ms": times, "error_percent": 13.0, "instructions": 19_600_000}
    table = format_costs({**costs, "prompt_tokens": 17.4, "answer_tokens": 16.6})
    assert "| 9 commands on an emulated Pi Zero 2 W, one thread | modelled: +-13% |" in table
    assert "| an answer, p95 | 41 ms |" in table
    assert "| tokens of a prompt and of an answer, mean | 17 and 17 |" in table


def test_the_recorded_report_is_what_the_page_quotes() -> None:
    path = FOLDER.parent / "reports/commands.json"
    if not path.exists():
        pytest.skip("no report is recorded")
    page = (FOLDER.parents[1] / "docs/tasks.md").read_text()
    report = json.loads(path.read_text())
    assert format_scores(report) in page
    assert format_failures(report) in page
    assert format_costs(report["counted"]) in page
