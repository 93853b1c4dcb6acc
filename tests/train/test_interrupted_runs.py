"""`train` that was killed, or that failed, at any of its calls can be repeated or resumed."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.crash import iterate_crashes
from tests.support.recording_reporter import RecordingReporter
from tests.support.syllables import syllable_lines

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tinyedge.core.config import ModelConfig
from tinyedge.core.run_files import has_unfinished_run, is_finished
from tinyedge.corpus.build import CorpusRequest
from tinyedge.text import train_tokenizer
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train import pipeline, single_run
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.limits import Outcome, RunLimits
from tinyedge.train.recipe import resolve
from tinyedge.train.run_request import RunRequest
from tinyedge.train.state import EpochRecord, State
from tinyedge.train.storage import checkpoint


class FakeTrainer:
    """Writes what a trainer writes in two epochs, without weights and without torch's threads."""

    def __init__(self, *arguments: Any) -> None:
        self._folder = next(argument for argument in arguments if isinstance(argument, Path))
        self.state = State()

    def resume(self, path: Path) -> None:
        self.state = State.from_dict(checkpoint.load_resumable(path)["state"])

    def run(self, limits: RunLimits, after_epoch: Callable[[State], None]) -> Outcome:
        if self.state.epoch:  # the run may have been killed before it wrote its best model
            checkpoint.save(self._folder / checkpoint.BEST_FILE, self._content())
        while self.state.epoch < 2:
            bits = {"all": 1.0}
            record = EpochRecord(self.state.epoch + 1, 1.0, 1.0, 0.1, bits, 10.0, 1.0, 100)
            self.state.finish_epoch(record)
            checkpoint.save_last(self._folder, self._content())
            checkpoint.save(self._folder / checkpoint.BEST_FILE, self._content())
            after_epoch(self.state)
        checkpoint.save(self._folder / checkpoint.FINAL_FILE, self._content())
        return Outcome(self.state, "epochs")

    def _content(self) -> dict[str, Any]:
        return {
            "epoch": self.state.epoch,
            "model_state_dict": {"weight": torch.zeros(3)},
            "train_loss": None,
            "val_loss": None,
            "config": {"summary": {}},
            "state": self.state.to_dict(),
            **dict.fromkeys(("optimizer_state_dict", "tables", "rng")),
        }


@pytest.fixture
def text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A text, with a vocabulary that is trained once, the fake trainer, and no drawing."""
    lines = syllable_lines(100)
    documents = ("\n".join(lines[start : start + 20]) for start in range(0, len(lines), 20))
    path = tmp_path / "text.txt"
    path.write_text("\n\n".join(documents) + "\n")
    trained = train_tokenizer.train(syllable_lines(), "lines", TokenizerConfig(1000))
    monkeypatch.setattr(train_tokenizer, "train_unigram", lambda lines, options: list(lines) and trained)
    monkeypatch.setattr(pipeline, "Trainer", FakeTrainer)
    monkeypatch.setattr(single_run, "draw_curve", lambda run, path: path.write_bytes(b"drawn"))
    return path


def read_contents(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def make_request(folder: Path, text: Path, **changes: Any) -> RunRequest:
    request = RunRequest(
        output_dir=folder,
        corpus=CorpusRequest((), (text,)),
        tokenizer=TokenizerConfig(vocab_size=1000),
        model=ModelConfig(vocab_size=1000),
        training=resolve("fast", {"epochs": 2}),
        hardware=choose_hardware("cpu", "fp32"),
        limits=RunLimits(),
    )
    return dataclasses.replace(request, **changes)


@pytest.mark.parametrize("how", ["kill", "fail"])
def test_a_run_in_the_folder_of_a_finished_one_can_be_repeated(how: str, text: Path, tmp_path: Path) -> None:
    folder, start = tmp_path / "data", tmp_path / "start"
    other = tmp_path / "other.txt"
    other.write_text(text.read_text() + "\nAnother line.\n")
    pipeline.run(make_request(start, other), RecordingReporter())

    def prepare() -> Callable[[], object]:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(start, folder)
        return lambda: pipeline.run(make_request(folder, text), RecordingReporter())

    crashes = 0
    for crashes in iterate_crashes(prepare, how):
        resume = has_unfinished_run(folder)  # otherwise the same command is repeated
        pipeline.run(make_request(folder, text, resume=resume), RecordingReporter())
        assert is_finished(folder), f"call {crashes}"
        names = {path.name for path in folder.iterdir()}
        assert not [name for name in names if name.startswith((".", "checkpoint"))], f"call {crashes}"
        # A kill between the new run's best model and its first checkpoint leaves a second previous run.
        previous = [read_contents(path) for path in (folder / "previous").iterdir()]
        assert read_contents(start) in previous, f"call {crashes}"
    assert crashes > 40
