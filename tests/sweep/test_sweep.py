"""A sweep: its trials are normal run folders, and it can be continued after its process was killed."""

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

from tests.support.phrases import write_phrases
from tests.support.recording_reporter import RecordingReporter

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("optuna", reason="sweeps need the extra `sweep`")

from tinyedge.cli.main import app_for, repeat_list_flags
from tinyedge.core.errors import CorpusError, TinyEdgeError, UsageError
from tinyedge.core.runs import find_runs, read_run
from tinyedge.corpus.build import CorpusRequest
from tinyedge.sweep.run import SweepRequest, sweep
from tinyedge.sweep.search_space import Categorical, Range, Space
from tinyedge.sweep.settings import SweepSettings
from tinyedge.sweep.study import Claim, Study
from tinyedge.text.shards import Shards
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train import pipeline
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.limits import RunLimits
from tinyedge.train.recipe import SMALL_STEPS, resolve
from tinyedge.train.run_request import RunRequest

SHAPE: Space = {
    "d_model": Categorical((64,)),
    "nhead": Categorical((2,)),
    "num_layers": Categorical((1,)),
    "dim_feedforward": Categorical((128,)),
    "max_seq_length": Categorical((32,)),
    "batch_size": Categorical((128,)),
}
RATES: Space = {**SHAPE, "learning_rate": Categorical((0.0001, 0.003))}

Make = Callable[..., SweepRequest]


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder where the first sweep prepares the text; the others use it."""
    return tmp_path_factory.mktemp("text")


@pytest.fixture
def make(data: Path, tmp_path: Path) -> Make:
    text = data / "mine.txt"
    if not text.exists():
        write_phrases(text, 0, 200)

    def make(space: Space = RATES, search: str = "grid", trials: int = 2, epochs: int = 1) -> SweepRequest:
        from tinyedge.core.config import ModelConfig

        common = RunRequest(
            output_dir=data / "data",
            corpus=CorpusRequest((), (text,)),
            tokenizer=TokenizerConfig(vocab_size=1000),
            model=ModelConfig(vocab_size=1000),
            training=resolve("fast", {}),
            hardware=choose_hardware("cpu", "fp32"),
            limits=RunLimits(),
        )
        return SweepRequest(tmp_path / "sweep", common, space, SweepSettings(search, trials, epochs, seed=0))

    return make


@pytest.fixture
def reporter() -> RecordingReporter:
    return RecordingReporter()


def test_a_grid_of_normal_runs(make: Make, reporter: Any, capfd: pytest.CaptureFixture[str]) -> None:
    request = make()
    result = sweep(request, reporter)
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
        *("corpus_bilingual.txt", "corpus.json", "bilingual_1k.model", "shards", "trial.lock"),
    }
    report = json.loads((request.folder / "sweep.json").read_text())
    assert report["schema"] == "tinyedge.sweep/1"
    assert report["vary"]["learning_rate"] == "0.0001,0.003"
    assert (
        report["trials"][1]["bits_per_byte"] == report["best"]["bits_per_byte"] == result.best.bits_per_byte
    )
    assert (request.folder / "sweep.png").read_bytes().startswith(b"\x89PNG")

    before = {path: path.stat().st_mtime_ns for path in request.folder.rglob("*.pt")}
    assert sweep(make(), reporter).trials == result.trials  # no trial is left
    assert before == {path: path.stat().st_mtime_ns for path in request.folder.rglob("*.pt")}
    with pytest.raises(UsageError, match="epochs 1 there, 2 here"):
        sweep(make(epochs=2), reporter)

    command = shlex.split(report["best"]["command"])
    assert command[:2] == ["tinyedge", "train"]
    app_for([])(
        [*command[1:], "--output-dir", str(folders[1])], standalone_mode=False
    )  # of the best trial itself
    assert "model: reused" in capfd.readouterr().err  # so its flags equal those of the trial


def test_trials_on_pairs_are_runs_on_pairs(make: Make, reporter: Any, tmp_path: Path) -> None:
    """With the rates for pairs, and without a change to the folder of their data."""
    sentences = write_phrases(tmp_path / "mine.txt", 0, 400).read_text().split("\n")
    pairs = tmp_path / "pairs.jsonl"
    records = [{"prompt": a, "completion": b} for a, b in itertools.pairwise(sentences) if a and b]
    pairs.write_text("".join(json.dumps(record) + "\n" for record in records))
    request = make(SHAPE, trials=1)
    folder = tmp_path / "data"
    common = dataclasses.replace(
        request.common,
        output_dir=folder,
        corpus=CorpusRequest((), (pairs,)),
        flexible=frozenset({"vocab_size"}),
    )
    request = dataclasses.replace(request, common=common)
    (trial,) = sweep(request, reporter).trials
    assert trial.status == "finished"
    shards = Shards.load(folder / "shards")
    assert (shards.template, shards.held_out) == ("turns/1", "prompts")
    run = json.loads((request.folder / trial.name / "training_metrics.json").read_text())
    assert run["configuration"]["training"].items() >= SMALL_STEPS.items()
    command = json.loads((request.folder / "sweep.json").read_text())["best"]["command"]
    assert "--device cpu --precision fp32" in command


def test_a_stopped_sweep_continues_its_trial(make: Make, reporter: Any) -> None:
    def stop(progress: Any) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    reporter.on_step = stop
    request = make(trials=1, search="tpe", space={**SHAPE, "learning_rate": Range(1e-3, 1e-2)})
    stopped = sweep(request, reporter)
    assert stopped.signal == signal.SIGINT
    assert [trial.status for trial in stopped.trials] == ["running"]
    reporter.on_step = lambda progress: None
    result = sweep(request, reporter)
    assert result.signal is None
    assert [trial.status for trial in result.trials] == ["finished"]
    assert any("resumed from" in note and "checkpoint_last.pt, epoch 1" in note for note in reporter.notes)


def test_a_hopeless_trial_is_pruned(make: Make, reporter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Claim, "is_hopeless", lambda claim: claim.point["learning_rate"] == 0.0001)
    request = make(epochs=2)
    bad, good = sweep(request, reporter).trials
    assert (bad.status, good.status) == ("pruned", "finished")
    run = read_run(request.folder / bad.name)
    assert run.status == "pruned"
    assert run.last.number == 1
    assert bad.bits_per_byte == run.last.bits_per_byte["all"]


def test_a_sweep_that_is_killed_then_interrupted_can_be_finished(
    make: Make, capfd: pytest.CaptureFixture[str]
) -> None:
    request = make(space=SHAPE | {"nhead": Categorical((3, 2))})
    folder, trial = request.folder, request.folder / "trial-0001"
    words = ["sweep", "--search", "grid", "--epochs", "4", "--vocab-size", "1000", "--device", "cpu"]
    words += ["--precision", "fp32", "--data-dir", str(request.common.output_dir)]
    words += ["--input", *map(str, request.common.corpus.inputs), "--output-dir", str(folder)]
    words += ["--vary", *(f"{name.replace('_', '-')}={axis}" for name, axis in request.space.items())]
    command = [sys.executable, "-m", "tinyedge", *words]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL) as killed:
        while not (trial / "training_metrics.json").exists():  # after its first epoch
            assert killed.poll() is None
            time.sleep(0.01)
        killed.kill()
    assert killed.returncode == -signal.SIGKILL

    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as interrupted:
        assert interrupted.stderr
        lines = []
        for line in interrupted.stderr:
            lines.append(line)
            if line.startswith("epoch ") and not line.startswith("epoch 4"):
                interrupted.send_signal(signal.SIGINT)
    assert interrupted.returncode == 130, lines
    assert "run the same command again" in lines[-1]
    assert any("trial-0001" in line and "resumed from" in line for line in lines)

    app_for([])(repeat_list_flags(words), standalone_mode=False)
    head, first, second, best, train, *_ = capfd.readouterr().out.splitlines()
    assert head.split() == ["trial", "bits/byte", "status", "nhead"]
    assert first.split()[::2] == ["trial-0001", "finished"]
    assert second.split()[1:] == ["-", "failed", "3"]
    assert best.startswith("best: trial-0001")
    assert train.startswith("tinyedge train --output-dir")
    assert read_run(trial).last.number == 4
    failed, _ = json.loads((folder / "sweep.json").read_text())["trials"]
    assert "--nhead 3 does not divide --d-model 64" in failed["error"]


@pytest.mark.parametrize("content", [None, b"", b"\x89PNG\r\n\x1a\n" + 8 * bytes(range(256))])
def test_invalid_text_leaves_no_files(
    make: Make, reporter: RecordingReporter, tmp_path: Path, content: bytes | None
) -> None:
    """Missing, empty, binary: no folder, no study, no lock."""
    text = tmp_path / "text.txt"
    if content is not None:
        text.write_bytes(content)
    request = make()
    before = set(tmp_path.rglob("*"))
    for folder, data in (
        (tmp_path / "one", tmp_path / "one" / "data"),
        (tmp_path / "two", tmp_path / "text"),
    ):
        common = dataclasses.replace(request.common, output_dir=data, corpus=CorpusRequest((), (text,)))
        with pytest.raises(CorpusError, match=r"text\.txt"):
            sweep(dataclasses.replace(request, folder=folder, common=common), reporter)
    assert set(tmp_path.rglob("*")) == before


def test_invalid_text_keeps_an_existing_sweep(
    make: Make, reporter: RecordingReporter, tmp_path: Path
) -> None:
    request = make(trials=1, search="tpe", epochs=1)
    request.folder.mkdir()
    study = Study(request.folder, request.space, "tpe", 0, 1)
    with study.claim(1) or pytest.fail("nothing to do"):
        pass
    before = {path.name for path in request.folder.iterdir()}
    common = dataclasses.replace(request.common, corpus=CorpusRequest((), (tmp_path / "missing.txt",)))
    with pytest.raises(CorpusError, match=r"missing\.txt does not exist"):
        sweep(dataclasses.replace(request, common=common), reporter)
    assert {path.name for path in request.folder.iterdir()} == before


@pytest.mark.parametrize("name", ["sweep.json", "sweep.png"])
def test_files_of_others_are_not_replaced(make: Make, reporter: RecordingReporter, name: str) -> None:
    request = make()
    request.folder.mkdir()
    (request.folder / name).write_bytes(b'{"trials": []}')
    with pytest.raises(TinyEdgeError, match=name) as caught:
        sweep(request, reporter)
    assert "--output-dir" in caught.value.hint
    assert [path.name for path in request.folder.iterdir()] == [name]


def test_all_trials_use_the_largest_vocabulary_that_the_text_fills(
    make: Make, reporter: RecordingReporter, tmp_path: Path
) -> None:
    request = make(trials=1, search="tpe", epochs=1)
    common = dataclasses.replace(
        request.common,
        output_dir=tmp_path / "data",
        tokenizer=TokenizerConfig(8000),
        model=dataclasses.replace(request.common.model, vocab_size=8000),
        flexible=frozenset({"vocab_size"}),
    )
    result = sweep(dataclasses.replace(request, common=common), reporter)
    assert result.best is not None
    run = read_run(request.folder / result.best.name)
    assert 1000 < run.configuration["vocab_size"] < 8000
    assert f"--vocab-size {run.configuration['vocab_size']}" in (request.folder / "sweep.json").read_text()


def test_training_does_not_import_the_sweep() -> None:
    for path in Path(pipeline.__file__).parent.rglob("*.py"):
        assert "tinyedge.sweep" not in path.read_text(), path
