"""Coherence of samples: what counts as a loop and as a word, and what is crossed."""

from pathlib import Path
from typing import Any

import pytest

from tinyedge.bench.prompts import PROMPTS
from tinyedge.check.prompts import choose_sample_prompts
from tinyedge.check.quality import TextSample
from tinyedge.check.samples import GeneratedText, check_samples, generate_samples, has_loop, known_word_share
from tinyedge.runtime.content_filter import ContentFilter
from tinyedge.runtime.generator import Generator


@pytest.mark.parametrize(
    ("text", "loop"),
    [
        ("no no no", False),
        ("no " * 6, False),
        ("no " * 7, True),
        ("it is " * 3, False),  # the first time, and twice again: four words
        ("it is " * 4, True),
        ("and the house of the king " * 2, False),
        ("and the house of the king " * 3, True),
        ("he expected that he expected that he knew", False),
        ("", False),
    ],
)
def test_loops(text: str, loop: bool) -> None:
    assert has_loop(text.split()) is loop
    assert has_loop(["well", "then", *text.split()]) is loop


def make_sample(text: str, reason: str = "stop", prompt: str = "Once") -> GeneratedText:
    return GeneratedText(prompt, text, reason, 0)


def test_a_word_that_the_prompt_began_is_whole() -> None:
    assert make_sample("l of the Day", prompt="What a gir").words == ["girl", "of", "the", "day"]
    assert make_sample(" of", prompt="What a girl").words == ["of"]
    assert make_sample("of", prompt="What a girl ").words == ["of"]
    assert make_sample("l", prompt="a gir").words == ["girl"]


GOOD = [
    make_sample(" upon a time there was a king."),
    make_sample(" more she opened the window and looked at the street."),
    make_sample(" again it rained all day."),
]


def test_good_samples_are_ticked(tmp_path: Path) -> None:
    line = check_samples(GOOD, None)
    assert line.mark == "pass"
    assert line.found == (
        "3 samples, 0 unreadable and 0 with loops (limit 0), 100% distinct word pairs (at least 50%),"
        " 100% ended by themselves (at least 50%)"
    )
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("".join(f"{each.text}\n" for each in GOOD))
    assert "100.0% of the words are in the training text (at least 90%)" in check_samples(GOOD, corpus).found


@pytest.mark.parametrize(
    ("bad", "expected"),
    [
        ([make_sample(" a \ufffd b.")], "1 unreadable"),
        ([make_sample(" the king" * 5)], "1 with loops"),
        ([make_sample(" the a the a the a")] * 3, "13% distinct"),
        ([make_sample(f" word{'abcd'[n]} and", "length") for n in range(4)], "43% ended by themselves"),
        ([make_sample("")] * 4, "100% ended"),
    ],
)
def test_bad_samples_are_crossed(bad: list[GeneratedText], expected: str) -> None:
    line = check_samples([*GOOD, *bad] if "distinct" not in expected and "100" not in expected else bad, None)
    assert line.mark == "fail"
    assert expected in line.found


def test_words_that_nobody_has_written_are_crossed(tmp_path: Path) -> None:
    corpus = tmp_path / "corpus.txt"
    corpus.write_text("Upon a time there was a king.\n")
    line = check_samples(GOOD, corpus)
    assert line.mark == "fail"
    assert known_word_share(["a", "KING".lower(), "kong", "time"], corpus) == 0.75
    assert known_word_share([], corpus) == 0


def test_samples_are_the_same_each_time(micro_bundle: Path) -> None:
    generator, words = Generator.load(micro_bundle), ContentFilter.load()
    first = generate_samples(generator, words)
    assert first == generate_samples(generator, words)
    assert len({(each.prompt, each.seed) for each in first}) == len(first) == 16
    assert check_samples(first, None).mark == "pass"


def test_prompts_are_openings_of_the_text() -> None:
    german = TextSample("de", (tuple(f"Der Zug {n} fuhr am Abend nach Hause." for n in range(20)),))
    short = TextSample("fr", (("Oui monsieur",),))
    chosen = choose_sample_prompts([german, short], {"quality": {"en": {}}})
    assert chosen.source == "openings of de, fr"
    assert chosen.prompts == ("Der Zug 0", "Der Zug", "Der", "Der Zug 15", "Oui")


@pytest.mark.parametrize(
    ("manifest", "prompts", "source"),
    [
        ({"quality": {"es": {}}}, [PROMPTS[name] for name in PROMPTS if name.startswith("es")], "built-in"),
        ({"quality": {"zh": {}}}, [""], "the model's own beginnings"),
        ({}, list(PROMPTS.values()), "built-in"),
        (
            {"quality": {"en": {}, "fr": {}}, "openings": {"en": ["My", "The"], "fr": ["Oui"]}},
            ["My", "Oui", "The"],
            "the bundle's openings of en, fr",
        ),
    ],
)
def test_prompts_without_a_text(manifest: dict[str, Any], prompts: list[str], source: str) -> None:
    chosen = choose_sample_prompts([], manifest)
    assert list(chosen.prompts) == prompts
    assert source in chosen.source


def test_any_number_of_prompts_gives_16_samples(micro_bundle: Path) -> None:
    samples = generate_samples(Generator.load(micro_bundle), None, ["", "the", "men"])
    assert len(samples) == 16
    assert {sample.seed for sample in samples if sample.prompt == ""} == set(range(6))
