"""The filter line: what makes the filter useless with a bundle is crossed."""

from pathlib import Path

import pytest

from tinyedge.bundle.bundle import load_bundle
from tinyedge.check.content import check_filter, load_filter
from tinyedge.check.samples import GeneratedText
from tinyedge.runtime import content_filter
from tinyedge.runtime.content_filter import ContentFilter, ContentMatcher
from tinyedge.text.tokenizer import Tokenizer

SAMPLES = [
    GeneratedText("Once", " upon a time.", "stop", 0),
    GeneratedText("She", " was", "content_filter", 0),
]


@pytest.fixture
def own(micro_bundle: Path) -> Tokenizer:
    return Tokenizer(load_bundle(micro_bundle).tokenizer)


def test_the_filter_stops_its_list_as_the_model_writes_it(own: Tokenizer) -> None:
    words, reason = load_filter()
    assert words is not None
    item = check_filter(words, reason, own, SAMPLES)
    count = len(words.patterns)
    assert (item.mark, item.found) == (
        "pass",
        f"on by default in generate and serve; stops {count} of the {count} listed words and phrases that the"
        " vocabulary can write; it ended 1 of 2 samples",
    )


@pytest.mark.parametrize("words", ["", "# nothing\n[en]\n", "4\n", None])
def test_a_list_that_cannot_be_used_is_crossed(
    own: Tokenizer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, words: str | None
) -> None:
    path = tmp_path / "blocked_words.txt"
    if words is not None:
        path.write_text(words)
    monkeypatch.setattr(content_filter, "LIST_FILE", path)
    item = check_filter(*load_filter(), own, SAMPLES)
    assert item.mark == "fail"
    assert item.found.startswith(f"there is no usable list: {path}")


def test_a_list_in_another_alphabet_than_the_model_is_crossed(greek_vocabulary: bytes) -> None:
    item = check_filter(*load_filter(), Tokenizer(greek_vocabulary), SAMPLES)
    assert item.mark == "fail"
    assert item.found.startswith("the vocabulary cannot write ")


def test_a_word_that_comes_through_in_pieces_is_crossed(
    own: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def show_all(watch: ContentMatcher, text: str) -> str:
        return text

    words = ContentFilter(["lighthouse", "keeper"])
    monkeypatch.setattr(ContentMatcher, "push", show_all)
    item = check_filter(words, "", own, [])
    assert item.mark == "fail"
    assert item.found.startswith("2 listed words are not stopped; ")


def test_a_sample_with_a_listed_word_is_crossed(own: Tokenizer) -> None:
    shown = [
        GeneratedText("The old", " lighthouses", "stop", 0),
        GeneratedText("The", " Lighthouse.", "stop", 0),
    ]
    item = check_filter(ContentFilter(["lighthouse"]), "", own, [*SAMPLES, *shown])
    assert item.mark == "fail"
    assert item.found.startswith("1 samples contain a listed word; ")
