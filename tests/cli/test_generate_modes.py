"""`tinyedge generate` besides one answer: several, a file of pairs, and a conversation on a terminal."""

import json
import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.program import assert_refused, tinyedge
from tinyedge.runtime.generator import Generator
from tinyedge.text.turns import encode_turns

PROMPT = ("--prompt", "The captain", "--max-tokens", "6")
PAIRS = [("the dog", "a man"), ("the captain lost", "the house")]
GREEDY = ("--temperature", "0", "--max-tokens", "4")
WAIT_S = 60


@pytest.fixture(scope="module")
def turns_bundle(micro_bundle: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The smallest bundle, as if it had been trained on conversations of at most two prompts."""
    folder = tmp_path_factory.mktemp("turns") / "bundle"
    shutil.copytree(micro_bundle, folder)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    path.write_text(json.dumps({**manifest, "chat": {"template": "turns/1", "turns": 2}}))
    return folder


@pytest.fixture
def pairs(tmp_path: Path) -> Path:
    file = tmp_path / "pairs.jsonl"
    lines = [json.dumps({"prompt": prompt, "completion": completion}) for prompt, completion in PAIRS]
    file.write_text("\n".join(lines) + "\n")
    return file


def read_json(*words: object) -> dict[str, Any]:
    done = tinyedge("generate", *words, "--json")
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout))


# --- several answers ---


def test_several_answers_have_the_seeds_that_follow(micro_bundle: Path) -> None:
    found = read_json(micro_bundle, *PROMPT, "--seed", "4", "-n", "3")
    assert [answer["seed"] for answer in found["answers"]] == [4, 5, 6]
    for answer in found["answers"]:
        alone = read_json(micro_bundle, *PROMPT, "--seed", answer["seed"])
        assert "answers" not in alone
        for name in ("text", "tokens", "finish_reason", "slid", "prompt_tokens"):
            assert alone[name] == answer[name]
    assert len({answer["text"] for answer in found["answers"]}) > 1
    first = found["answers"][0]
    assert (found["text"], found["seed"], found["tokens"]) == (first["text"], 4, first["tokens"])


def test_several_texts_are_separated_by_an_empty_line(micro_bundle: Path) -> None:
    done = tinyedge("generate", micro_bundle, *PROMPT, "--seed", "4", "-n", "2")
    answers = read_json(micro_bundle, *PROMPT, "--seed", "4", "-n", "2")["answers"]
    assert done.stdout == "\n".join(f"The captain{answer['text']}\n" for answer in answers)


def test_several_answers_in_a_form_are_a_line_each(json_bundle: Path) -> None:
    done = tinyedge("generate", json_bundle, *PROMPT, "--regex", "[a-z]{3}", "-n", "4", "--max-tokens", "9")
    assert re.fullmatch(r"([a-z]{3}\n){4}", done.stdout)
    cut = tinyedge("generate", json_bundle, *PROMPT, "--regex", "[a-z]{40}", "-n", "2", "--max-tokens", "2")
    assert assert_refused(cut, 1) == "error: 2 of 2 answers are not complete after --max-tokens 2"


def test_ignore_eos_continues_after_the_end_of_a_text(micro_bundle: Path) -> None:
    flags = ("--prompt", "The captain", "--max-tokens", "60", "--seed", "3")
    ended = read_json(micro_bundle, *flags)
    whole = read_json(micro_bundle, *flags, "--ignore-eos")
    assert (ended["finish_reason"], whole["finish_reason"]) == ("stop", "length")
    assert len(whole["tokens"]) == 60 > len(ended["tokens"])
    assert whole["tokens"][: len(ended["tokens"])] == ended["tokens"]


# --- a file of pairs ---


def test_every_prompt_of_a_file_of_pairs_is_answered_on_a_line(turns_bundle: Path, pairs: Path) -> None:
    alone = [read_json(turns_bundle, "--prompt", prompt, *GREEDY) for prompt, _ in PAIRS]
    done = tinyedge("generate", turns_bundle, "--pairs", pairs, *GREEDY)
    assert (done.returncode, done.stderr) == (0, "read 1 file (1 utf-8)\n")
    assert done.stdout.splitlines() == [f"{one['prompt']} -> {one['text']}" for one in alone]
    lines = tinyedge("generate", turns_bundle, "--pairs", pairs, *GREEDY, "--json").stdout.splitlines()
    for line, one, (prompt, completion) in zip(lines, alone, PAIRS, strict=True):
        found = json.loads(line)
        assert (found["schema"], found["template"]) == ("tinyedge.completion/1", "turns/1")
        assert (found["prompt"], found["completion"]) == (prompt, completion)
        assert (found["text"], found["tokens"]) == (one["text"], one["tokens"])


def test_a_later_prompt_is_asked_after_the_turns_of_the_file(turns_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "chats.jsonl"
    contents = ["the dog", "a man", "the men", "the house"]
    roles = ["user", "assistant"] * 2
    messages = [{"role": role, "content": content} for role, content in zip(roles, contents, strict=True)]
    file.write_text(json.dumps({"messages": messages}) + "\n")
    done = tinyedge("generate", turns_bundle, "--pairs", file, *GREEDY, "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    tokenizer = Generator.load(turns_bundle).tokenizer
    assert [one["prompt"] for one in found] == ["the dog", "the men"]
    expected = [len(encode_turns(tokenizer, contents[:count])) for count in (1, 3)]
    assert [one["prompt_tokens"] for one in found] == expected


def test_a_file_without_pairs_is_an_error(micro_bundle: Path, tmp_path: Path) -> None:
    file = tmp_path / "text.jsonl"
    file.write_text('{"text": "a"}\n')
    error = assert_refused(tinyedge("generate", micro_bundle, "--pairs", file), 1)
    assert error == f"error: {file} does not hold pairs"


def test_no_answer_precedes_an_error_in_a_later_line(turns_bundle: Path, pairs: Path) -> None:
    with pairs.open("a") as file:
        file.write("{damaged\n")
    error = assert_refused(tinyedge("generate", turns_bundle, "--pairs", pairs, *GREEDY), 1)
    assert f"{pairs}, line 3" in error


def test_prompts_and_answers_longer_than_the_context_are_counted(turns_bundle: Path, tmp_path: Path) -> None:
    tokenizer = Generator.load(turns_bundle).tokenizer
    text = "the dog"
    while len(encode_turns(tokenizer, [f"{text} dog"])) <= 32:  # the context of this bundle
        text += " dog"
    file = tmp_path / "long.jsonl"
    prompts = ["the dog", f"{text} dog", f"{text} dog dog", text]
    lines = [json.dumps({"prompt": prompt, "completion": "a man"}) for prompt in prompts]
    file.write_text("\n".join(lines) + "\n")
    flags = ("--temperature", "0", "--max-tokens", "9", "--ignore-eos")
    done = tinyedge("generate", turns_bundle, "--pairs", file, *flags)
    assert done.stderr.splitlines()[1:] == [
        "note: the model's context is 32 tokens: 2 of 4 prompts are longer than it, and their beginning was"
        " left out",
        "note: the model's context is 32 tokens: 1 of 4 answers exceed it, and their end was generated"
        " without the prompt's beginning",
    ]
    assert len(done.stdout.splitlines()) == 4


# --- flags ---


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        ((), "--prompt is missing, and a conversation needs a terminal"),
        (("--json",), "--prompt is missing, which --json needs"),
        (("-n", "2"), "--prompt is missing, which -n needs"),
        (("--prompt", "a", "-n", "0"), "-n 0 is outside 1-1000"),
        (("--prompt", "a", "--pairs", "p.jsonl"), "--prompt and --pairs are mutually exclusive"),
        (("--pairs", "p.jsonl", "-n", "2"), "-n and --pairs are mutually exclusive"),
        (("--pairs", "p.jsonl", "--json", "new.json"), "--json FILE cannot be used with --pairs"),
        (("--prompt", "a", "--regex", "a", "--ignore-eos"), "--ignore-eos cannot be used with a form"),
        (("--prompt", "a", "-n", "2", "--seed", str((1 << 63) - 1)), "--seed 9223372036854775808 is outside"),
    ],
)
def test_what_cannot_be_done_is_one_error(json_bundle: Path, flags: tuple[str, ...], message: str) -> None:
    error = assert_refused(tinyedge("generate", json_bundle, *flags), 2)
    assert error.startswith(f"error: {message}")


# --- a conversation ---


class Terminal:
    """`tinyedge generate` on a terminal of its own."""

    def __init__(self, *words: object) -> None:
        self.descriptor, other = pty.openpty()
        command = [sys.executable, "-m", "tinyedge", "generate", *map(str, words)]
        # A session of its own, whose terminal this is: Ctrl-C is then typed as a user types it.
        self.process = subprocess.Popen(
            command,
            stdin=other,
            stdout=other,
            stderr=other,
            start_new_session=True,
            preexec_fn=lambda: __import__("fcntl").ioctl(0, __import__("termios").TIOCSCTTY, 0),
            env={**os.environ, "TERM": "dumb", "COLUMNS": "200"},
        )
        os.close(other)
        self.text = ""

    def type(self, keys: str) -> None:
        os.write(self.descriptor, keys.encode())

    def interrupt(self, expected: str) -> None:
        """Type Ctrl-C until a text is shown: readline loses one that arrives while it reads a character."""
        self.wait_for(expected, again="\x03")

    def wait_for(self, text: str, again: str = "") -> str:
        """Read until a text is shown; return what was shown up to it, and forget that.

        Keys `again` are typed at the beginning, and whenever nothing is shown for a while.
        """
        end = time.monotonic() + WAIT_S
        self.type(again)
        while text not in self.text:
            ready, _, _ = select.select([self.descriptor], [], [], 2)
            assert time.monotonic() < end, self.text
            self.type("" if ready else again)
            if ready:
                try:
                    new = os.read(self.descriptor, 4096)
                except OSError:  # how Linux reports that the other side is closed
                    new = b""
                assert new, self.text
                self.text += new.decode().replace("\r", "")
        before, self.text = self.text.split(text, 1)
        return before

    def close(self) -> int:
        """Return the exit code."""
        try:
            return self.process.wait(WAIT_S)
        finally:
            os.close(self.descriptor)

    def ask(self, line: str) -> str:
        """Type a line; return the answer, after which there is a prompt again."""
        self.type(f"{line}\n")
        self.wait_for(f"{line}\n")
        return self.wait_for("> ").strip("\n")


@pytest.fixture
def chat(turns_bundle: Path) -> Iterator[Terminal]:
    terminal = Terminal(turns_bundle, *GREEDY)
    terminal.wait_for("> ")
    yield terminal
    if terminal.process.poll() is None:
        terminal.process.kill()
        terminal.process.wait()


def greedy(bundle: Path, *turns: str) -> str:
    from tinyedge.core.sampling import SamplingConfig

    generator = Generator.load(bundle)
    prompt = encode_turns(generator.tokenizer, turns)
    return generator.generate(prompt, max_tokens=4, sampling=SamplingConfig(temperature=0)).text


def test_a_conversation_keeps_its_turns_until_reset(chat: Terminal, turns_bundle: Path) -> None:
    first = chat.ask("the dog")
    assert first == greedy(turns_bundle, "the dog")
    second = chat.ask("the men")
    assert second == greedy(turns_bundle, "the dog", first, "the men")
    assert second != greedy(turns_bundle, "the men")
    # The model was trained on conversations of two prompts: the first one is dropped.
    assert chat.ask("a man") == greedy(turns_bundle, "the men", second, "a man")
    assert "starts again" in chat.ask("/reset")
    assert chat.ask("the men") == greedy(turns_bundle, "the men")
    assert "/nothing is not a command" in chat.ask("/nothing")
    chat.type("\x04")
    assert chat.close() == 0


def test_ctrl_c_at_the_prompt_does_not_end_the_conversation(chat: Terminal, turns_bundle: Path) -> None:
    chat.type("half a li")
    chat.wait_for("half a li")
    chat.interrupt("Ctrl-D or /exit ends.")
    chat.wait_for("> ")
    assert chat.ask("the dog") == greedy(turns_bundle, "the dog")
    chat.type("/exit\n")
    assert chat.close() == 0


def test_ctrl_c_stops_an_answer_and_not_the_program(micro_bundle: Path) -> None:
    terminal = Terminal(micro_bundle, "--ignore-eos", "--max-tokens", 1_000_000, "--no-filter")
    terminal.wait_for("> ")
    terminal.type("The captain\n")
    terminal.wait_for("The captain\n")
    terminal.wait_for("The captain ")  # the text begins with the line
    terminal.interrupt("note: stopped\n")
    terminal.wait_for("> ")
    terminal.type("\x04")
    assert terminal.close() == 0


def test_a_model_of_plain_text_continues_each_line(micro_bundle: Path) -> None:
    terminal = Terminal(micro_bundle, *GREEDY)
    terminal.wait_for("> ")
    for _ in range(2):
        alone = read_json(micro_bundle, "--prompt", "The captain lost", *GREEDY)
        assert terminal.ask("The captain lost") == "The captain lost" + alone["text"]
    terminal.type("\x04")
    assert terminal.close() == 0
