"""The content filter in the server: text that is held back does not appear in another field either."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from bench.serve.loopback import Server, parse_events
from tinyedge.runtime import ContentFilter, Generator
from tinyedge.serve.generation import generate_steps
from tinyedge.serve.requests import RequestLimits, parse_completion

PROMPT = "The captain"


@pytest.fixture(scope="module")
def generator(micro_bundle: Path) -> Generator:
    return Generator.load(micro_bundle)


def run_steps(generator: Generator, content_filter: ContentFilter | None, **fields: Any) -> list[Any]:
    body = {"prompt": PROMPT, "temperature": 0, "max_tokens": 30, "ignore_eos": True, "logprobs": 2, **fields}
    request = parse_completion(json.dumps(body).encode(), RequestLimits(generator.config.vocab_size, 512))
    return list(generate_steps(generator, request, content_filter))


def remove_spaces(text: str) -> str:
    """Remove spaces: that of a line's first word is not shown, and a line break is a token without text."""
    return "".join(text.split())


def test_no_token_is_listed_before_its_text_is_shown(generator: Generator) -> None:
    text = "".join(step.text for step in run_steps(generator, None))
    word = max(re.findall(r"[^\W\d_]+", text), key=len)
    found = run_steps(generator, ContentFilter([word]))
    assert found[-1].finish_reason == "content_filter"
    shown = listed = ""
    for step in found:
        shown += step.text
        listed += "".join(token.raw.decode() for token in step.tokens)
        assert remove_spaces(shown).startswith(remove_spaces(listed))
    assert shown == text[: text.index(word)]
    assert word not in listed
    assert remove_spaces(shown).startswith(remove_spaces(listed))


def test_each_generated_token_is_listed_after_an_echo(generator: Generator) -> None:
    """Evaluation harnesses count from the end of the list; a removed token has no text there."""
    text = "".join(step.text for step in run_steps(generator, None, max_tokens=4))
    word = re.findall(r"[^\W\d_]+", text)[-1]
    (first, *found) = run_steps(generator, ContentFilter([word]), max_tokens=4, echo=True)
    assert found[-1].finish_reason == "content_filter"
    listed = [token for step in found for token in step.tokens]
    assert len(listed) == sum(step.generated for step in found)
    assert word not in "".join(token.text for token in listed)
    assert [(token.text, token.raw) for token in listed][-1] == ("", b"")
    assert {text for token in listed[-1:] for text, _, _ in token.top} == {""}
    assert first.tokens[-1].offset < len(PROMPT)


def test_a_filter_without_a_match_changes_only_the_timing(generator: Generator) -> None:
    plain, filtered = run_steps(generator, None), run_steps(generator, ContentFilter(["zyzyx"]))
    assert [step.text for step in plain] != [] != [token for step in plain for token in step.tokens]
    assert "".join(step.text for step in plain) == "".join(step.text for step in filtered)
    listed = [
        [(token.raw, token.logprob) for step in run for token in step.tokens] for run in (plain, filtered)
    ]
    assert listed[0] == listed[1]


def test_offsets_are_positions_in_the_text(generator: Generator) -> None:
    for echo in (False, True):
        found = run_steps(generator, ContentFilter(["zyzyx"]), echo=echo)
        text = "".join(step.text for step in found)
        tokens = [token for step in found for token in step.tokens if token.raw]
        written = [token for token in tokens if token.offset >= (len(PROMPT) if echo else 0)]
        assert len(written) > 10
        for token in written:
            assert text[token.offset :].lstrip().startswith(token.raw.decode().lstrip())


def test_the_server_filters_by_default_and_accepts_another_list(micro_bundle: Path, tmp_path: Path) -> None:
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")
    fields = {"temperature": 0, "max_tokens": 30, "ignore_eos": True}
    with Server(micro_bundle, "--no-filter") as server:
        text = server.complete(PROMPT, **fields).text
        server.stop()
    word = max(re.findall(r"[^\W\d_]+", text), key=len)
    list_file = tmp_path / "mine.txt"
    list_file.write_text(word)
    with Server(micro_bundle, "--filter", list_file) as server:
        choice = server.complete(PROMPT, **fields).json()["choices"][0]
        assert (choice["text"], choice["finish_reason"]) == (text[: text.index(word)], "content_filter")
        answer = server.post("/v1/completions", {"prompt": PROMPT, "stream": True, "logprobs": 1, **fields})
        last = list(parse_events(answer.body))[-1]
        assert last["choices"][0]["finish_reason"] == "content_filter"
        assert word.encode() not in answer.body
        assert server.stop().stderr == ""


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (("--no-filter", "--filter", "x"), "--no-filter and --filter are mutually exclusive"),
        (("--filter", "/no/such/list"), "/no/such/list"),
    ],
)
def test_an_invalid_filter(micro_bundle: Path, flags: tuple[str, ...], message: str) -> None:
    pytest.importorskip("h11", reason="the server needs the extra `serve`")
    with pytest.raises(RuntimeError, match=message), Server(micro_bundle, *flags):
        pass


@pytest.mark.parametrize("stop", [1, 2, -1])
def test_a_stop_string_inside_a_listed_word_shows_no_part_of_it(generator: Generator, stop: int) -> None:
    text = "".join(step.text for step in run_steps(generator, None))
    word = max(re.findall(r"[^\W\d_]+", text), key=len)
    before = text[: text.index(word)]
    found = run_steps(generator, ContentFilter([word]), stop=[word[stop:]])
    assert "".join(step.text for step in found) in (before, before[: before.find(word[stop:])])
    listed = "".join(token.raw.decode() for step in found for token in step.tokens)
    assert remove_spaces(before).startswith(remove_spaces(listed))


def test_tokens_whose_text_a_stop_string_cut_off_are_not_listed(generator: Generator) -> None:
    text = "".join(step.text for step in run_steps(generator, None))
    word = max(re.findall(r"[^\W\d_]+", text), key=len)
    found = run_steps(generator, None, stop=[word[-2:]])
    assert found[-1].finish_reason == "stop"
    shown = "".join(step.text for step in found)
    listed = "".join(token.raw.decode() for step in found for token in step.tokens)
    assert remove_spaces(shown).startswith(remove_spaces(listed))
