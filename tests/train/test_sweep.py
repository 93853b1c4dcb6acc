"""A sweep: its trials are run folders like any other, and it survives whatever happens to its process."""

import dataclasses
import itertools
import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("optuna", reason="sweeps need the extra `sweep`")

from tinyedge.corpus import phrasebook
from tinyedge.corpus.build import CorpusRequest
from tinyedge.errors import UsageError
from tinyedge.runs import find_runs, read_run
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.pipeline import RunRequest
from tinyedge.train.recipe import resolve
from tinyedge.train.space import Choice, Range, Space
from tinyedge.train.sweep import SweepRequest, sweep
from tinyedge.train.trainer import Limits
from tinyedge.vocabulary import TokenizerConfig

SHAPE: Space = {
    "d_model": Choice((64,)),
    "nhead": Choice((2,)),
    "num_layers": Choice((1,)),
    "dim_feedforward": Choice((128,)),
    "max_seq_length": Choice((32,)),
    "batch_size": Choice((128,)),
}
RATES: Space = {**SHAPE, "learning_rate": Choice((0.0001, 0.003))}

Make = Callable[..., SweepRequest]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the first sweep prepares the text; the others use it."""
    return tmp_path_factory.mktemp("text")


@pytest.fixture
def make(data: Path, tmp_path: Path) -> Make:
    text = data / "mine.txt"
    if not text.exists():
        documents = itertools.islice(phrasebook.documents(), 400)
        text.write_text("\n\n".join("\n".join(d.sentences) for d in documents))

    def make(space: Space = RATES, search: str = "grid", trials: int = 2, epochs: int = 1) -> SweepRequest:
        from tinyedge.config import ModelConfig

        common = RunRequest(
            output_dir=data / "data",
            corpus=CorpusRequest((), (text,)),
            tokenizer=TokenizerConfig(vocab_size=1000),
            model=ModelConfig(vocab_size=1000),
            training=resolve("fast", {}),
            hardware=choose_hardware("cpu", "fp32"),
            limits=Limits(),
        )
        return SweepRequest(tmp_path / "sweep", common, space, search, trials, epochs, seed=0)

    return make


def test_a_grid_of_normal_runs(make: Make, silent: Any) -> None:
    request = make()
    result = sweep(request, silent)
    assert [(t.name, t.status, t.point["learning_rate"]) for t in result.trials] == [
        ("trial-0000", "finished", 0.0001),
        ("trial-0001", "finished", 0.003),
    ]
    folders = find_runs(request.folder, previous=False)
    assert [folder.name for folder in folders] == ["trial-0000", "trial-0001"]
    runs = [read_run(folder) for folder in folders]
    assert [trial.bits_per_byte for trial in result.trials] == [run.best.bits_per_byte["all"] for run in runs]
    assert result.best == result.trials[1]
    assert {path.name for path in folders[0].iterdir()} == {
        *("best_model.pt", "final_model.pt", "training_metrics.json", "training_curve.png"),
        *("corpus_bilingual.txt", "bilingual_1k.model", "shards", "trial.lock"),
    }
    told = json.loads((request.folder / "sweep.json").read_text())
    assert told["schema"] == "tinyedge.sweep/1"
    assert told["vary"]["learning_rate"] == "0.0001,0.003"
    assert told["trials"][1]["bits_per_byte"] == told["best"]["bits_per_byte"] == result.best.bits_per_byte
    assert (request.folder / "sweep.png").read_bytes().startswith(b"\x89PNG")

    before = {path: path.stat().st_mtime_ns for path in request.folder.rglob("*.pt")}
    assert sweep(make(), silent).trials == result.trials  # nothing is left to do
    assert before == {path: path.stat().st_mtime_ns for path in request.folder.rglob("*.pt")}
    with pytest.raises(UsageError, match="epochs 1 there, 2 here"):
        sweep(make(epochs=2), silent)

    command = shlex.split(told["best"]["command"])
    assert command[:2] == ["tinyedge", "train"]
    again = tinyedge(*command[1:-2], "--output-dir", folders[1], *command[-2:])  # the best trial, once more
    assert again.returncode == 0, again.stderr
    assert "model: reused" in again.stderr  # its flags are exactly the trial's


def test_a_stopped_sweep_goes_on_in_its_trial(make: Make, silent: Any) -> None:
    def stop(progress: Any) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    silent.on_step = stop
    request = make(trials=1, search="tpe", space={**SHAPE, "learning_rate": Range(1e-3, 1e-2)})
    stopped = sweep(request, silent)
    assert stopped.signal == signal.SIGINT
    assert [trial.status for trial in stopped.trials] == ["running"]
    silent.on_step = lambda progress: None
    result = sweep(request, silent)
    assert result.signal is None
    assert [trial.status for trial in result.trials] == ["finished"]
    assert any("resumed from" in note and "step 2" in note for note in silent.notes)


def test_a_bad_trial_is_pruned_and_says_so(make: Make, silent: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinyedge.train.study.PRUNED_AFTER", 1)
    space = {**SHAPE, "learning_rate": Choice((1e-6, 3e-3))}
    request = dataclasses.replace(make(space, "tpe", trials=4, epochs=3))
    monkeypatch.setattr("tinyedge.train.study.RANDOM_TRIALS", 4)
    result = sweep(request, silent)
    pruned = [trial for trial in result.trials if trial.status == "pruned"]
    assert pruned
    for trial in pruned:
        assert trial.point["learning_rate"] == 1e-6
        run = read_run(request.folder / trial.name)
        assert run.status == "pruned"
        assert run.last.number == 2  # of 3 epochs
    assert result.best is not None
    assert result.best.status == "finished"


def test_a_trial_that_cannot_be_is_no_end(make: Make, silent: Any) -> None:
    space = {**SHAPE, "nhead": Choice((3, 2))}
    result = sweep(make(space), silent)
    assert [trial.status for trial in result.trials] == ["failed", "finished"]
    assert "--nhead 3 does not divide --d-model 64" in str(result.trials[0].error)
    assert any(note.startswith("trial-0000: failed") for note in silent.notes)


def test_killed_then_interrupted_then_done(make: Make, silent: Any) -> None:
    request = make(epochs=6)
    words = ["sweep", "--search", "grid", "--epochs", "6", "--vocab-size", "1000", "--device", "cpu"]
    words += ["--precision", "fp32", "--data-dir", str(request.common.output_dir)]
    words += ["--input", *map(str, request.common.corpus.inputs), "--output-dir", str(request.folder)]
    words += ["--vary", *(f"{name.replace('_', '-')}={axis}" for name, axis in RATES.items())]
    command = [sys.executable, "-m", "tinyedge", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as killed:
        wait_for(request.folder / "trial-0001" / "training_metrics.json", killed)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as interrupted:
        assert interrupted.stderr
        lines = []
        for line in interrupted.stderr:
            lines.append(line)
            if "resumed from" in line:
                interrupted.send_signal(signal.SIGINT)
    assert interrupted.returncode == 130, lines
    assert "give the same command again" in lines[-1]
    assert any("trial-0001" in line and "resumed from" in line for line in lines)
    done = tinyedge(*words)
    assert done.returncode == 0, done.stderr
    head, first, second, best, train, *_ = done.stdout.splitlines()
    assert head.split() == ["trial", "bits/byte", "status", "learning_rate"]
    assert first.split()[::2] == ["trial-0001", "finished"]
    assert second.split()[::2] == ["trial-0000", "finished"]
    assert best.startswith("best: trial-0001")
    assert train.startswith("tinyedge train --output-dir")
    assert [read_run(request.folder / f"trial-000{n}").last.number for n in (0, 1)] == [6, 6]


def wait_for(path: Path, process: "subprocess.Popen[bytes]") -> None:
    while not path.exists():
        assert process.poll() is None
        time.sleep(0.01)


def tinyedge(*words: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "tinyedge", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, check=False)
