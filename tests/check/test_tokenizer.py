"""The tokenizer line: the bundle's own passes, vocabularies that do not fit the text are crossed."""

from pathlib import Path

import pytest

from tinyedge.bundle.bundle import load_bundle
from tinyedge.check.quality import TextSample
from tinyedge.check.tokenizer import PROMPTS_NAME, check_tokenizer, measure_round_trip
from tinyedge.text.tokenizer import Tokenizer

MANIFEST = {"tokenizer": {"sha256": "ab" * 32, "vocab_size": 1000, "bos_id": 0, "unk_id": 3}}


@pytest.fixture
def own(micro_bundle: Path) -> Tokenizer:
    return Tokenizer(load_bundle(micro_bundle).tokenizer)


def test_the_bundles_own_tokenizer_passes(own: Tokenizer) -> None:
    text = TextSample("es", (("Cada niño  abrió la puerta.", "cafe\u0301 con pan"),))
    item = check_tokenizer(MANIFEST, own, [text])
    assert item.mark == "pass", item.found
    assert item.found.endswith(
        "1,000 pieces as the model, BOS 0, UNK 3; 10 lines without UNK do not change when they are"
        f" encoded and decoded; bytes behind UNK: 0.00% of {PROMPTS_NAME}, 0.00% of es"
    )


def test_a_vocabulary_of_another_alphabet_is_crossed(greek_vocabulary: bytes) -> None:
    item = check_tokenizer(MANIFEST, Tokenizer(greek_vocabulary), [])
    assert item.mark == "fail"
    assert f"of the bytes of {PROMPTS_NAME} are UNK, limit 1%" in item.found


def test_a_vocabulary_that_changes_the_text_is_crossed(case_folding_vocabulary: bytes) -> None:
    item = check_tokenizer(MANIFEST, Tokenizer(case_folding_vocabulary), [])
    assert item.mark == "fail"
    assert f"of 8 lines of {PROMPTS_NAME} change when they are encoded and decoded" in item.found
    assert "the first is 'Hello'" in item.found


def test_text_in_another_alphabet_is_crossed(own: Tokenizer) -> None:
    item = check_tokenizer(MANIFEST, own, [TextSample("el", (("αβγ δεζ", "one two"),))])
    assert item.mark == "fail"
    assert "of the bytes of el are UNK" in item.found


def test_unknown_bytes_are_counted(own: Tokenizer) -> None:
    lines = ["α", "α βγδ", "the"]
    trip = measure_round_trip("x", lines, own)
    assert trip.lines == 1
    assert trip.unknown_share == pytest.approx(2 * 5 / (3 + 10 + 4))  # bytes, with the line breaks
    assert trip.changed == ()
    assert measure_round_trip("x", [], own).unknown_share == 0


def test_a_model_of_another_language_is_checked_on_its_own_text(greek_vocabulary: bytes) -> None:
    greek = Tokenizer(greek_vocabulary)
    manifest = {**MANIFEST, "quality": {"el": {}}}
    assert check_tokenizer(manifest, greek, [TextSample("el", (("αβγ δεζ.",),))]).mark == "pass"
    item = check_tokenizer(manifest, greek, [])
    assert "not tried, there is no text in its languages here" in item.found
