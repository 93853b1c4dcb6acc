"""Chats with a model that was trained on conversations: messages become its template."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bench.serve.loopback import Server
from tinyedge.core.sampling import SamplingConfig
from tinyedge.runtime.generator import Generator
from tinyedge.serve.messages import apply_template
from tinyedge.text.turns import encode_turns

CHAT, RESPONSES = "/v1/chat/completions", "/v1/responses"
HEADER = "x-tinyedge-template"


@pytest.fixture(scope="module")
def turns_bundle(micro_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest bundle, as if it had been trained on conversations of at most two prompts."""
    folder = tmp_path_factory.mktemp("turns") / "bundle"
    shutil.copytree(micro_bundle, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "chat": {"template": "turns/1", "turns": 2}}))
    return folder


@pytest.fixture(scope="module")
def turns_server(turns_bundle: Path) -> Iterator[Server]:
    for package in ("h11", "prometheus_client"):
        pytest.importorskip(package, reason="the server needs the extra `serve`")
    with Server(turns_bundle) as process:
        yield process
        server_exit = process.stop()
    assert "chat: the model was trained on the template turns/1" in server_exit.stdout
    assert server_exit.stderr == ""


def answer(bundle: Path, *turns: str) -> tuple[str, int]:
    """The greedy answer to a conversation, and the number of its prompt tokens."""
    generator = Generator.load(bundle)
    prompt = encode_turns(generator.tokenizer, turns)
    if len(turns) % 2 == 0:
        prompt.pop()
    found = generator.generate(prompt, max_tokens=8, sampling=SamplingConfig(temperature=0))
    return found.text, len(prompt)


def messages(*contents: str) -> list[dict[str, str]]:
    """Messages of user and assistant in turn."""
    roles = ("user", "assistant")
    return [{"role": roles[number % 2], "content": text} for number, text in enumerate(contents)]


@pytest.mark.parametrize("turns", [("The dog",), ("The dog", "a man", "the men"), ("The dog", "a man")])
def test_messages_are_asked_in_the_template(
    turns_server: Server, turns_bundle: Path, turns: tuple[str, ...]
) -> None:
    fields = {"messages": messages(*turns), "temperature": 0, "max_tokens": 8}
    found = turns_server.post(CHAT, fields)
    value = found.json()
    text, tokens = answer(turns_bundle, *turns)
    assert value["choices"][0]["message"]["content"] == text
    assert value["usage"]["prompt_tokens"] == tokens
    assert found.headers[HEADER] == "turns/1"
    streamed = turns_server.post(CHAT, {**fields, "stream": True})
    assert streamed.headers[HEADER] == "turns/1"


def test_the_response_api_uses_the_template_too(turns_server: Server, turns_bundle: Path) -> None:
    fields = {"instructions": "The dog", "input": "a man", "temperature": 0, "max_output_tokens": 8}
    found = turns_server.post(RESPONSES, fields)
    text, tokens = answer(turns_bundle, "The dog a man")
    (item,) = found.json()["output"]
    assert item["content"][0]["text"] == text
    assert found.json()["usage"]["input_tokens"] == tokens
    assert found.headers[HEADER] == "turns/1"


def test_completions_continue_text_without_a_template(turns_server: Server, turns_bundle: Path) -> None:
    found = turns_server.complete("The dog", temperature=0, max_tokens=8)
    plain = Generator.load(turns_bundle).generate(
        "The dog", max_tokens=8, sampling=SamplingConfig(temperature=0)
    )
    assert found.text == plain.text
    assert HEADER not in found.headers


def test_a_model_of_plain_text_says_so(server: Server, turns_server: Server) -> None:
    found = server.post(CHAT, {"messages": messages("The dog"), "max_tokens": 1})
    assert found.headers[HEADER] == "none"
    (model,) = server.get("/v1/models").json()["data"]
    assert model["template"] is None
    (model,) = turns_server.get("/v1/models").json()["data"]
    assert model["template"] == "turns/1"


def spell(turns: Any) -> list[Any]:
    """Stands for the encoder: the turns themselves, and an end after a completion."""
    return [*turns, *(["EOS"] if len(turns) % 2 == 0 else ["BOS"])]


@pytest.mark.parametrize(
    ("given", "max_turns", "expected"),
    [
        ("u:a", 0, ["a", "BOS"]),
        ("s:x u:a", 0, ["x\na", "BOS"]),
        ("u:a u:b", 0, ["a\nb", "BOS"]),
        ("u:a a:b a:c u:d", 0, ["a", "b\nc", "d", "BOS"]),
        ("u:a a:b", 0, ["a", "b"]),  # the answer goes on, so it has no end
        ("a:b", 0, ["", "b"]),
        ("a:b u:c", 0, ["", "b", "c", "BOS"]),
        ("u:a a:b u:c a:d u:e", 1, ["e", "BOS"]),
        ("u:a a:b u:c a:d u:e", 2, ["c", "d", "e", "BOS"]),
        ("u:a a:b u:c a:d u:e", 3, ["a", "b", "c", "d", "e", "BOS"]),
        ("s:x d:y u:a a:b u:c", 1, ["x\ny\nc", "BOS"]),
        ("s:x u:a a:b u:c a:d", 1, ["x\nc", "d"]),
    ],
)
def test_messages_become_turns(given: str, max_turns: int, expected: list[str]) -> None:
    roles = {"u": "user", "a": "assistant", "s": "system", "d": "developer"}
    parsed = [(roles[each[0]], each[2:]) for each in given.split()]
    assert list(apply_template(parsed, spell, max_turns)) == expected


def test_without_a_template_messages_are_lines() -> None:
    assert apply_template([("system", "One."), ("user", "Two.")], None) == "One.\nTwo.\n"
