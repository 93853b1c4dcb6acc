"""Teachers are trained before a run, which learns from them; stopped anywhere, it goes on."""

import dataclasses
import functools
import os
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.phrases import write_phrases
from tests.support.recording_reporter import RecordingReporter

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tests.train.test_pipeline import make_request, run_training
from tests.train.test_step import EAGER, SMALL, make_batch
from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import CheckpointError, UsageError
from tinyedge.core.run_files import BEST_FILE, has_teachers, list_run_files, read_metrics
from tinyedge.train import pipeline, single_run
from tinyedge.train.data import Batch
from tinyedge.train.limits import RunLimits
from tinyedge.train.methods.distillation import Teacher
from tinyedge.train.methods.sampled_softmax import CandidateSampler
from tinyedge.train.model import TinyTransformer
from tinyedge.train.recipe import FAST, resolve
from tinyedge.train.report.sample import SampleSeries
from tinyedge.train.step import TrainStep
from tinyedge.train.stop_signals import SIGNALS
from tinyedge.train.storage import previous_run
from tinyedge.train.teachers import make_teacher_shape

MODELS = ("teachers/1", "teachers/2", ".")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which only training is missing, and its text."""
    folder = tmp_path_factory.mktemp("data")
    text = write_phrases(tmp_path_factory.mktemp("text") / "mine.txt", 0, 200)
    pipeline.prepare_data(make_request(folder, text), RecordingReporter())
    shutil.copy(text, folder / "mine.txt")
    return folder


@pytest.fixture
def request_for(tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make requests for runs of two epochs with two teachers."""
    monkeypatch.setattr(single_run, "draw_curve", lambda run, path: path.write_bytes(b"drawn"))
    shutil.copytree(data, tmp_path / "data")
    return functools.partial(make_taught_request, tmp_path / "data")


def make_taught_request(folder: Path, **flags: Any) -> Any:
    changes = {name: flags.pop(name) for name in ("resume", "restart", "limits", "corpus") if name in flags}
    base = {"epochs": 2, "batch_size": 16, "stride": 160, "teachers": 2}
    request = make_request(folder, folder / "mine.txt", **changes)
    return dataclasses.replace(request, training=resolve("fast", {**base, **flags}))


@pytest.fixture
def restore_signals() -> Iterator[Callable[[], None]]:
    """Undo what a stopped run leaves: it ignores further signals."""
    before = {number: signal.getsignal(number) for number in SIGNALS}

    def restore() -> None:
        for number, handler in before.items():
            signal.signal(number, handler)

    yield restore
    restore()


def read_models(folder: Path) -> list[bytes]:
    return [(folder / name / "final_model.pt").read_bytes() for name in MODELS]


def stop_at(reporter: RecordingReporter, step: int) -> None:
    """Send a signal at a step, counted over all models."""
    steps = iter(range(10_000))

    def maybe_stop(progress: Any) -> None:
        if next(steps) == step:
            os.kill(os.getpid(), signal.SIGTERM)

    reporter.on_step = maybe_stop


def test_a_run_has_its_teachers_in_folders_of_their_own(request_for: Any) -> None:
    reporter = RecordingReporter()
    folder = request_for().output_dir
    assert run_training(request_for(), reporter).ended_by == "epochs"
    metrics = [read_metrics(folder / name) for name in MODELS]
    assert {value["status"] for value in metrics} == {"finished"}
    seeds = [value["configuration"]["training"]["seed"] for value in metrics]  # type: ignore[index]
    epochs = [value["configuration"]["num_epochs"] for value in metrics]  # type: ignore[index]
    assert (seeds, epochs) == ([1, 2, 0], [1, 1, 2])
    assert [record.epoch for record in reporter.records] == [1, 2]  # of the run itself
    assert any(note.startswith("teacher 2 of 2: epoch 1: held out") for note in reporter.notes)
    assert pipeline.run(request_for(), RecordingReporter()) is None  # reused
    models = read_models(folder)
    run_training(request_for(restart=True), reporter)
    assert read_models(folder) == models  # to the bit
    (previous,) = (folder / "previous").iterdir()
    assert read_models(previous) == models


def test_a_model_differs_with_and_without_teachers(request_for: Any) -> None:
    folder = request_for().output_dir
    run_training(request_for(), RecordingReporter())
    taught = (folder / "final_model.pt").read_bytes()
    run_training(request_for(teachers=0, restart=True), RecordingReporter())
    assert (folder / "final_model.pt").read_bytes() != taught
    assert not has_teachers(folder)


@pytest.mark.parametrize("step", [3, 14, 25, 37])  # in each teacher, and in both epochs of the run
def test_a_run_stopped_anywhere_ends_with_the_same_models(
    request_for: Any, step: int, restore_signals: Callable[[], None]
) -> None:
    folder = request_for().output_dir
    run_training(request_for(), RecordingReporter())
    models = read_models(folder)
    reporter = RecordingReporter()
    stop_at(reporter, step)
    stopped = run_training(request_for(restart=True), reporter)
    restore_signals()
    assert stopped.signal == signal.SIGTERM
    with pytest.raises(CheckpointError, match="unfinished run"):
        pipeline.run(request_for(), RecordingReporter())
    for flags in ({"learning_rate": 1e-4}, {"teachers": 0}, {"teachers": 3}, {"epochs": 9}):
        (name, value), *_ = flags.items()
        before = resolve("fast", {"epochs": 2, "teachers": 2}).to_dict()[name]
        here = value or "off"
        with pytest.raises(UsageError, match=f"{name} is {before} there, {here} here"):
            pipeline.run(request_for(**flags, resume=True), RecordingReporter())
    reporter = RecordingReporter()
    assert run_training(request_for(resume=True), reporter).ended_by == "epochs"
    assert read_models(folder) == models
    assert sum("resumed from" in note for note in reporter.notes) == 1


def test_other_text_does_not_continue_teachers(
    request_for: Any, tmp_path: Path, restore_signals: Callable[[], None]
) -> None:
    folder = request_for().output_dir
    reporter = RecordingReporter()
    stop_at(reporter, 3)
    run_training(request_for(), reporter)
    restore_signals()
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    other = write_phrases(tmp_path / "other.txt", 200, 400)
    request = request_for(resume=True)
    request = dataclasses.replace(request, corpus=dataclasses.replace(request.corpus, inputs=(other,)))
    with pytest.raises(CheckpointError):
        pipeline.run(request, RecordingReporter())
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_a_signal_at_the_end_of_a_teacher_stops_the_run(
    request_for: Any, restore_signals: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = SampleSeries.add

    def add_and_signal(*arguments: Any) -> Any:
        if arguments[2] == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return samples(*arguments)

    monkeypatch.setattr(SampleSeries, "add", add_and_signal)
    stopped = run_training(request_for(), RecordingReporter())
    restore_signals()
    monkeypatch.setattr(SampleSeries, "add", samples)
    assert stopped.signal == signal.SIGTERM
    folder = request_for().output_dir
    assert read_metrics(folder / "teachers/1")["status"] == "finished"
    assert not (folder / "teachers/2").exists()
    assert run_training(request_for(resume=True), RecordingReporter()).ended_by == "epochs"


def test_a_finished_teacher_stays_if_the_limits_change(
    request_for: Any, restore_signals: Callable[[], None]
) -> None:
    reporter = RecordingReporter()
    stop_at(reporter, 25)
    run_training(request_for(limits=RunLimits(max_minutes=400)), reporter)
    restore_signals()
    folder = request_for().output_dir
    before = (folder / "teachers/1" / BEST_FILE).stat().st_mtime_ns
    changed = request_for(resume=True, limits=RunLimits(max_minutes=300, patience=7))
    assert run_training(changed, RecordingReporter()).ended_by == "epochs"
    assert (folder / "teachers/1" / BEST_FILE).stat().st_mtime_ns == before


def test_resuming_does_not_replace_a_finished_run(request_for: Any) -> None:
    run_training(request_for(), RecordingReporter())
    models = read_models(request_for().output_dir)
    for flags in ({"epochs": 3}, {"limits": RunLimits(patience=5)}):
        with pytest.raises(CheckpointError, match="finished run with other flags"):
            pipeline.run(request_for(**flags, resume=True), RecordingReporter())
    assert read_models(request_for().output_dir) == models


def test_a_folder_of_the_user_is_not_taken_for_teachers(tmp_path: Path) -> None:
    (tmp_path / "teachers/1").mkdir(parents=True)
    (tmp_path / "teachers/1/notes.txt").write_text("mine")
    assert list_run_files(tmp_path) == []


def test_a_process_killed_while_it_moves_a_run_leaves_a_usable_folder(
    request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    run_training(request_for(), RecordingReporter())
    folder = request_for().output_dir
    models = read_models(folder)

    class PowerCutError(BaseException):
        pass

    def cut(path: Path) -> None:
        if path.name == previous_run.FOLDER:
            raise PowerCutError

    with monkeypatch.context() as patch:
        patch.setattr(files, "sync_folder", cut)
        patch.setattr(previous_run, "_restore", lambda *arguments: [])  # killed: nothing is tidied up
        with pytest.raises(PowerCutError):
            pipeline.run(request_for(restart=True), RecordingReporter())
    run_training(request_for(restart=True), RecordingReporter())
    assert read_models(folder) == models


def test_teachers_get_a_half_of_the_time(request_for: Any) -> None:
    folder = request_for().output_dir
    run_training(request_for(limits=RunLimits(max_minutes=400)), RecordingReporter())
    minutes = [read_metrics(folder / name)["configuration"]["max_minutes"] for name in MODELS]  # type: ignore[index]
    assert minutes == [100, 100, 400]


def test_a_recipe_with_teachers_starts_from_random_weights() -> None:
    for recipe, values in (("best", {}), ("fast", {"teachers": 1})):
        with pytest.raises(UsageError, match="teachers begin with random weights"):
            resolve(recipe, values, init_from="abc")
    assert resolve("best", {"teachers": 0}, init_from="abc").init_from == "abc"


@pytest.mark.parametrize(("width", "heads"), [(64, 2), (128, 4), (384, 6), (512, 8)])
def test_a_teacher_is_larger(width: int, heads: int) -> None:
    model = ModelConfig(d_model=width, nhead=heads, num_layers=3, dim_feedforward=2 * width)
    teacher = make_teacher_shape(model)
    assert teacher.block_parameters > model.block_parameters
    assert teacher.vocab_size == model.vocab_size
    assert teacher.max_seq_length == model.max_seq_length


@pytest.mark.parametrize("sampled", [0, 100])
def test_a_model_learns_what_its_teacher_predicts(sampled: int) -> None:
    """A batch whose text is noise: only the teacher can tell what else is likely."""
    torch.manual_seed(1)
    teacher = TinyTransformer(SMALL)
    teacher.initialize(0.5)
    inputs, targets = make_batch()
    probabilities = teacher(inputs).softmax(dim=-1).detach()
    distances = []
    for share in (0.0, 0.9):
        torch.manual_seed(0)
        model = TinyTransformer(SMALL)
        model.initialize(0.02)
        sampler = CandidateSampler(torch.arange(1000), sampled) if sampled else None
        config = dataclasses.replace(FAST, batch_size=8, warmup_steps=0)
        train_step = TrainStep(model, config, EAGER, sampler=sampler, teacher=Teacher(teacher, share, EAGER))
        for step in range(40):
            train_step.run(Batch(inputs, targets), step, 1.0)
        log = model(inputs).log_softmax(dim=-1)
        distances.append((probabilities * (probabilities.clamp_min(1e-9).log() - log)).sum(-1).mean().item())
    assert distances[1] < 0.7 * distances[0]
    assert not any(parameter.requires_grad for parameter in teacher.parameters())
