"""SentencePiece in a process of its own: the same model, ended at once, and never left behind."""

import contextlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NoReturn

import psutil
import pytest
import sentencepiece

from tests.support.syllables import syllable_lines
from tinyedge.text import trainer_process
from tinyedge.text.trainer_process import TrainerDiedError, TrainerRefusedError, train_unigram

OPTIONS = {"model_type": "unigram", "vocab_size": 300, "num_threads": 2, "minloglevel": 2}
GRACE_S = 60  # for a machine that is busy with other things; 5 s is the promise on an idle one


def wait_for_trainer(parent: psutil.Process) -> psutil.Process:
    """The child that has loaded SentencePiece: from then on it dies with its parent."""
    while parent.is_running() and parent.status() != psutil.STATUS_ZOMBIE:
        for child in parent.children():
            if any("_sentencepiece" in entry.path for entry in child.memory_maps()):
                return child
        time.sleep(0.01)
    raise AssertionError("the command ended without a trainer")


Children = Callable[[], list[psutil.Process]]


@pytest.fixture
def children() -> Children:
    """Those that the test has started: a server of other tests may run beside them."""
    others = psutil.Process().children()
    return lambda: [child for child in psutil.Process().children() if child not in others]


@contextlib.contextmanager
def run_tokenizer_command(folder: Path) -> Iterator["subprocess.Popen[str]"]:
    """`tinyedge tokenizer` on some text; it is gone when the block ends, however that ends."""
    corpus = folder / "corpus.txt"
    corpus.write_text("\n\n".join("\n".join(syllable_lines(1000)) for _ in range(40)))
    command = [sys.executable, "-m", "tinyedge", "tokenizer", "--corpus", str(corpus), "--output-dir"]
    process = subprocess.Popen([*command, str(folder / "data")], stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def test_the_model_is_the_one_that_sentencepiece_makes() -> None:
    lines = [*syllable_lines(), "¡Qué día! “Ñandú” \u2028 \r", ""]
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(lines), model_writer=model, **OPTIONS)
    assert train_unigram(lines, OPTIONS) == model.getvalue()


def test_what_sentencepiece_refuses_is_in_its_words() -> None:
    with pytest.raises(TrainerRefusedError, match="Vocabulary size too high"):
        train_unigram(["one two three"], OPTIONS | {"vocab_size": 30_000})


@pytest.mark.parametrize(("number", "name"), [(signal.SIGKILL, "SIGKILL"), (40, "signal 40")])
def test_a_process_that_dies_is_named_by_its_signal(number: int, name: str, children: Children) -> None:
    """While it is fed more than a pipe holds: the broken pipe is not the error."""

    def lines() -> Iterator[str]:
        (child,) = children()
        child.send_signal(number)
        while child.status() != psutil.STATUS_ZOMBIE:  # waiting for it would take its exit status
            time.sleep(0.01)
        yield from syllable_lines(20_000)

    with pytest.raises(TrainerDiedError, match=name):
        train_unigram(lines(), OPTIONS)


def test_a_failure_of_the_lines_ends_the_process(children: Children) -> None:
    def lines() -> Iterator[str]:
        yield "one line"
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        train_unigram(lines(), OPTIONS)
    assert not children()


def test_a_signal_ends_a_process_that_reads_no_more(children: Children) -> None:
    """The pipe is full when it comes, and what waits to be written must not keep the parent."""

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
    """The trainer stands still, so it never returns from its C++; the command ends all the same."""
    with run_tokenizer_command(tmp_path) as process:
        trainer = wait_for_trainer(psutil.Process(process.pid))
        trainer.suspend()
        process.send_signal(number)
        _, output = process.communicate(timeout=GRACE_S)
    assert process.returncode == code
    assert "Traceback" not in output
    assert not trainer.is_running()
    assert not list((tmp_path / "data").iterdir())


def test_a_killed_command_takes_the_trainer_along(tmp_path: Path) -> None:
    with run_tokenizer_command(tmp_path) as process:
        trainer = wait_for_trainer(psutil.Process(process.pid))
        trainer.suspend()  # or its input, which ends here, might be enough for it to finish
        process.kill()
        trainer.wait(GRACE_S)


def test_a_process_whose_parent_is_gone_ends() -> None:
    command = [sys.executable, "-m", trainer_process.__name__, str(os.getpid() + 1), "{}"]
    assert subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode == 1
