"""SentencePiece in a child process: the same model, ended at once, and never left running."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NoReturn

import psutil
import pytest
import sentencepiece

from tests.support.syllables import syllable_lines
from tinyedge.text import trainer_process
from tinyedge.text.trainer_process import TrainerDiedError, TrainerRefusedError, train_unigram

OPTIONS = {"model_type": "unigram", "vocab_size": 300, "num_threads": 2, "minloglevel": 2}
GRACE_S = 60  # for a busy machine; on an idle one the limit is 5 s


def wait_for_trainer(parent: psutil.Process) -> psutil.Process:
    """Wait for the child that has loaded SentencePiece: from then on it ends with its parent."""
    while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
        for child in parent.children():
            if any("_sentencepiece" in entry.path for entry in child.memory_maps()):
                return child
        time.sleep(0.01)
    raise AssertionError("the command ended before it started a trainer")


Children = Callable[[], list[psutil.Process]]


@pytest.fixture
def children() -> Children:
    """Return a function that lists the children of this test; servers of other tests may run too."""
    others = psutil.Process().children()
    return lambda: [child for child in psutil.Process().children() if child not in others]


@contextlib.contextmanager
def run_tokenizer_command(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """Run `tinyedge tokenizer` on some text; the process has ended when the block ends."""
    corpus = folder / "corpus.txt"
    corpus.write_text("\n\n".join("\n".join(syllable_lines(1000)) for _ in range(40)))
    command = [sys.executable, "-m", "tinyedge", "tokenizer", "--corpus", str(corpus), "--output-dir"]
    process = subprocess.Popen([*command, str(folder / "data")], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_model_equals_the_one_from_sentencepiece() -> None:
    lines = [*syllable_lines(), "¡Qué día! “Ñandú” \u2028 \r", ""]
    model = io.BytesIO()
    options: dict[str, Any] = OPTIONS
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **options)
    assert train_unigram(lines, OPTIONS) == model.getvalue()


def test_a_refusal_carries_the_message_of_sentencepiece() -> None:
    with pytest.raises(TrainerRefusedError, match="Vocabulary size too high"):
        train_unigram(["one two three"], OPTIONS | {"vocab_size": 30_000})


@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "SIGKILL"), (40, "signal 40")])
def test_the_error_of_a_killed_process_names_the_signal(number: int, name: str, children: Children) -> None:
    """The process receives more than a pipe holds: the broken pipe must not become the error."""

    def lines() -> Iterator[str]:
        (child,) = children()
        child.send_signal(number)
        while child.status() != psutil.STATUS_ZOMBIE:  # waiting for it would consume its exit status
            time.sleep(0.01)
        yield from syllable_lines(20_000)

    with pytest.raises(TrainerDiedError, match=name):
        train_unigram(lines(), OPTIONS)


def test_only_a_complete_model_is_a_result(children: Children, ignored_sigchld: None) -> None:
    """In a process that ignores SIGCHLD, every child seems to end with exit status 0."""
    assert train_unigram(syllable_lines(), OPTIONS)
    with pytest.raises(TrainerRefusedError, match="Vocabulary size too high"):
        train_unigram(["one two three"], OPTIONS | {"vocab_size": 30_000})

    def lines() -> Iterator[str]:
        children()[0].kill()
        yield "one line"

    with pytest.raises(TrainerDiedError):
        train_unigram(lines(), OPTIONS)


def test_an_error_from_the_lines_ends_the_process(children: Children) -> None:
    def lines() -> Iterator[str]:
        yield "one line"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        train_unigram(lines(), OPTIONS)
    assert not children()


def test_a_signal_ends_a_process_that_does_not_read(children: Children) -> None:
    """The pipe is full when the signal arrives; the unwritten data must not block the parent."""

    def lines() -> Iterator[str]:
        children()[0].suspend()
        signal.setitimer(signal.ITIMER_REAL, 0.5)
        while True:
            yield from syllable_lines()

    def stop(number: int, frame: object) -> NoReturn:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGALRM, stop)
    try:
        with pytest.raises(SystemExit):
            train_unigram(lines(), OPTIONS)
    finally:
        signal.signal(signal.SIGALRM, before)
    assert not children()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_does_not_wait_for_sentencepiece(tmp_path: Path, number: int, code: int) -> None:
    """The trainer is suspended, so it never returns from C++; the command must end anyway."""
    with run_tokenizer_command(tmp_path) as process:
        trainer = wait_for_trainer(psutil.Process(process.pid))
        trainer.suspend()
        process.send_signal(number)
        _, output = process.communicate(timeout=GRACE_S)
    assert process.returncode == code
    assert "Traceback" not in output
    assert not trainer.is_running()
    assert not list(tmp_path.glob("data/*"))


def test_the_trainer_ends_when_its_command_is_killed(tmp_path: Path) -> None:
    with run_tokenizer_command(tmp_path) as process:
        trainer = wait_for_trainer(psutil.Process(process.pid))
        trainer.suspend()  # otherwise it might finish with the input that it has
        process.kill()
        trainer.wait(GRACE_S)


def test_a_process_without_its_parent_ends() -> None:
    command = [sys.executable, "-m", trainer_process.__name__, str(os.getpid() + 1), "{}"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 1
