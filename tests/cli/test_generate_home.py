"""`tinyedge generate --home`: a sentence to the command of a home."""

import json
from pathlib import Path

import pytest

from tests.support.command_bundle import LIGHT_ON, LIGHT_ON_PROMPT
from tests.support.program import assert_refused, tinyedge

ASK = ("--prompt", "turn on the bedroom lamp", "--temperature", "0")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    file = tmp_path / "home.json"
    file.write_text(json.dumps({"devices": [{"name": "Bedroom Lamp", "domain": "light"}]}))
    return file


def test_the_answer_is_the_command(command_bundle: Path, home: Path) -> None:
    done = tinyedge("generate", command_bundle, "--home", home, *ASK)
    assert (done.returncode, done.stdout, done.stderr) == (0, LIGHT_ON.to_text() + "\n", "")
    found = json.loads(tinyedge("generate", command_bundle, "--home", home, *ASK, "--json").stdout)
    assert (found["prompt"], found["text"]) == (LIGHT_ON_PROMPT, LIGHT_ON.to_text())


@pytest.mark.parametrize("flags", [("--choices", "a,b"), ("--regex", "a"), ("--no-chat",)])
def test_other_forms_are_refused(command_bundle: Path, home: Path, flags: tuple[str, ...]) -> None:
    done = tinyedge("generate", command_bundle, "--home", home, *ASK, *flags)
    assert assert_refused(done, 2) == f"error: --home and {flags[0]} are mutually exclusive"


def test_a_command_of_too_many_words_is_an_error_about_the_prompt(command_bundle: Path, home: Path) -> None:
    done = tinyedge("generate", command_bundle, "--home", home, "--prompt", "lamp " * 101)
    assert assert_refused(done, 2) == "error: --prompt has a command of 101 words, at most 100 are allowed"


def test_a_model_of_text_is_refused(json_bundle: Path, home: Path) -> None:
    error = assert_refused(tinyedge("generate", json_bundle, "--home", home, *ASK), 2)
    assert error == f"error: --home: the model of {json_bundle} was not trained on pairs"
