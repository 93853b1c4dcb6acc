"""The pipeline in a folder: missing phases run, existing results are reused, nothing is lost."""

import copy
import dataclasses
import errno
import functools
import json
import os
import re
import shutil
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.phrases import write_phrases
from tests.support.recording_reporter import RecordingReporter

pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.core import files
from tinyedge.core.config import ModelConfig
from tinyedge.core.errors import (
    CheckpointError,
    CorpusError,
    TinyEdgeError,
    TokenizerError,
    TrainingError,
)
from tinyedge.corpus.build import CorpusRequest
from tinyedge.text.shards import Shards
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.train import pipeline, single_run
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.limits import Outcome, RunLimits
from tinyedge.train.recipe import FAST, MAX_AUGMENTED_TOKENS, SMALL_STEPS, list_unset, resolve
from tinyedge.train.report.metrics import MetricsWriter
from tinyedge.train.run_request import RunRequest
from tinyedge.train.storage import checkpoint, previous_run

MODEL = ModelConfig(
    vocab_size=1000, d_model=64, nhead=2, num_layers=1, dim_feedforward=128, max_seq_length=32
)


def make_request(folder: Path, text: Path, **changes: Any) -> RunRequest:
    flags = {"epochs": changes.pop("epochs", 1), "batch_size": 16, "stride": 160}  # 10 steps an epoch
    base = RunRequest(
        output_dir=folder,
        corpus=CorpusRequest((), (text,)),
        tokenizer=TokenizerConfig(vocab_size=1000),
        model=MODEL,
        training=resolve("fast", flags),
        hardware=choose_hardware("cpu", "fp32"),
        limits=RunLimits(),
    )
    return dataclasses.replace(base, **changes)


def run_training(request: RunRequest, reporter: Any) -> Outcome:
    """Run the pipeline and check that training was necessary."""
    outcome = pipeline.run(request, reporter)
    assert outcome is not None
    return outcome


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phrases(tmp_path_factory.mktemp("text") / "mine.txt", 0, 200)


@pytest.fixture(scope="module")
def data(text: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which only training is missing."""
    folder = tmp_path_factory.mktemp("data")
    pipeline.prepare_data(make_request(folder, text), RecordingReporter())
    return folder


@pytest.fixture
def fresh_request_for(tmp_path: Path, text: Path) -> Any:
    """Make requests for a folder that does not exist yet, with a text that may be changed."""
    mine = tmp_path / "mine.txt"
    shutil.copy(text, mine)
    return functools.partial(make_request, tmp_path / "data", mine)


@pytest.fixture
def request_for(tmp_path: Path, text: Path, data: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make requests for a folder with prepared data. A placeholder replaces the training curve."""
    monkeypatch.setattr(single_run, "draw_curve", lambda run, path: path.write_bytes(b"drawn"))
    shutil.copytree(data, tmp_path / "data")
    return functools.partial(make_request, tmp_path / "data", text)


@pytest.mark.parametrize(
    ("tokens", "is_large"), [(MAX_AUGMENTED_TOKENS, False), (MAX_AUGMENTED_TOKENS + 1, True)]
)
def test_a_large_text_is_learned_with_small_steps(request_for: Any, tokens: int, is_large: bool) -> None:
    request = request_for(training=FAST, flexible=list_unset({}))
    shards = copy.copy(Shards.load(request.output_dir / "shards"))
    shards.train_tokens = tokens
    training = request.adapt_to(shards).training
    assert (training.to_dict().items() >= SMALL_STEPS.items()) is is_large
    assert is_large or training == FAST


def test_a_run_is_reused_and_then_replaced_by_another(fresh_request_for: Any, reporter: Any) -> None:
    request_for = fresh_request_for
    request = request_for()
    folder = request.output_dir
    assert pipeline.run(request, reporter) is not None
    names = {path.name for path in folder.iterdir()}
    assert names == {
        *(
            "corpus_bilingual.txt",
            "corpus.json",
            "bilingual_1k.model",
            "bilingual_1k.vocab",
            "tokenizer.json",
        ),
        *("shards", "best_model.pt", "final_model.pt", "training_metrics.json", "training_curve.png"),
    }
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    reporter.notes.clear()
    assert pipeline.run(request_for(), reporter) is None
    assert before == {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    reading = ["read 1 file (1 utf-8)", "  842 lines kept apart"]  # of the text, also if it is reused
    notes = [note for note in reporter.notes if not note.startswith("unknown:") and note not in reading]
    assert [note for note in notes if "reused" in note] == notes
    assert len(notes) == 4

    first = (folder / "final_model.pt").read_bytes()
    pipeline.run(request_for(epochs=2), reporter)
    (previous,) = (folder / "previous").iterdir()
    assert (previous / "final_model.pt").read_bytes() == first
    assert json.loads((folder / "training_metrics.json").read_text())["final_metrics"]["total_epochs"] == 2


@pytest.mark.parametrize("answer", [True, False, None])
def test_a_finished_run_is_moved_only_with_consent_or_after_a_message(
    request_for: Any, reporter: Any, answer: bool | None
) -> None:
    folder = request_for().output_dir
    pipeline.run(request_for(), reporter)
    before = read_contents(folder)
    reporter.notes.clear()
    asked: list[str] = []

    def confirm(question: str) -> bool | None:
        asked.append(question)
        return answer

    again = dataclasses.replace(request_for(epochs=2), confirm=confirm)
    if answer is False:
        with pytest.raises(CheckpointError, match="nothing was changed"):
            pipeline.run(again, reporter)
        assert read_contents(folder) == before
    else:
        assert pipeline.run(again, reporter) is not None
        assert len(list((folder / "previous").iterdir())) == 1
    (question,) = asked
    assert re.search(r"a finished run .*1/1 epochs, [\d.]+ bits per byte", question)
    assert f"Move its files to {folder}/previous/ and train a new model?" in question
    announced = [note for note in reporter.notes if f"moving its files to {folder}/previous/" in note]
    assert len(announced) == (answer is None)


def test_a_restart_and_a_reused_run_ask_nothing(request_for: Any, reporter: Any) -> None:
    pipeline.run(request_for(), reporter)
    request = dataclasses.replace(request_for(), confirm=pytest.fail)
    assert pipeline.run(request, reporter) is None
    assert pipeline.run(dataclasses.replace(request, restart=True), reporter) is not None
    assert any("moving its files" in note for note in reporter.notes)


def test_new_text_rebuilds_everything_that_depends_on_it(fresh_request_for: Any, reporter: Any) -> None:
    request = fresh_request_for()
    pipeline.prepare_data(request, reporter)
    (source,) = request.corpus.inputs
    source.write_text(source.read_text() + "\n\nA last sentence that was not there before.\n")
    tokenizer, shards = pipeline.prepare_data(request, reporter)
    corpus = (request.output_dir / "corpus_bilingual.txt").read_text()
    assert "A last sentence" in corpus
    from tinyedge.core.files import sha256_file

    assert shards.corpus_sha256 == sha256_file(request.output_dir / "corpus_bilingual.txt")
    assert shards.tokenizer_sha256 == tokenizer.sha256


def test_an_interrupted_run_is_resumed(request_for: Any, reporter: Any) -> None:
    def stop(progress: Any) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    reporter.on_step = stop
    outcome = pipeline.run(request_for(), reporter)
    assert outcome is not None
    assert outcome.signal == signal.SIGINT
    reporter.on_step = lambda progress: None
    with pytest.raises(CheckpointError, match="holds an unfinished run") as caught:
        pipeline.run(request_for(), reporter)
    assert "--resume" in caught.value.hint
    stopped_at = outcome.state.step
    assert stopped_at in (2, 3)  # one more step may have begun
    resumed = pipeline.run(request_for(resume=True), reporter)
    assert resumed is not None
    where = f"epoch 1, step {stopped_at}"
    assert any("resumed from" in note and where in note for note in reporter.notes)
    assert not (request_for().output_dir / checkpoint.LAST_FILE).exists()


def stop_at(reporter: Any, step: int) -> None:
    """Send SIGTERM to the next run after `step` steps."""
    reporter.on_step = lambda progress: (
        os.kill(os.getpid(), signal.SIGTERM) if progress.step == step else None
    )


def test_a_damaged_checkpoint_causes_a_warning(request_for: Any, reporter: Any) -> None:
    folder = request_for().output_dir
    stop_at(reporter, 15)
    assert run_training(request_for(epochs=2), reporter).signal == signal.SIGTERM
    last = folder / checkpoint.LAST_FILE
    assert (folder / checkpoint.BEFORE_LAST_FILE).exists()
    last.write_bytes(last.read_bytes()[:-1000])
    reporter.notes.clear()
    reporter.on_step = lambda progress: None
    assert run_training(request_for(epochs=2, resume=True), reporter).ended_by == "epochs"
    (warning,) = (note for note in reporter.notes if note.startswith("warning: "))
    assert "checkpoint_last.pt is truncated" in warning
    assert sum("resumed from" in note for note in reporter.notes) == 1


def test_a_run_with_only_damaged_checkpoints_is_refused(request_for: Any, reporter: Any) -> None:
    folder = request_for().output_dir
    stop_at(reporter, 2)
    pipeline.run(request_for(), reporter)
    (folder / checkpoint.LAST_FILE).write_bytes(b"x")
    with pytest.raises(CheckpointError, match=r"checkpoint_last\.pt is truncated"):
        pipeline.run(request_for(resume=True), reporter)


def test_a_finished_run_is_reused_by_resume(request_for: Any, reporter: Any) -> None:
    folder = request_for().output_dir
    pipeline.run(request_for(), reporter)
    before = (folder / "final_model.pt").read_bytes()
    assert pipeline.run(request_for(resume=True), reporter) is None
    with pytest.raises(CheckpointError, match="holds a finished run with other flags"):
        pipeline.run(request_for(epochs=2, resume=True), reporter)
    (folder / "final_model.pt").write_bytes(before[:-1])  # the best model holds no state to resume from
    with pytest.raises(CheckpointError, match="no checkpoint to resume from"):
        pipeline.run(request_for(resume=True), reporter)
    assert checkpoint.load(folder / "best_model.pt")["epoch"] == 1


@pytest.mark.parametrize("call", ["draw_curve", "clean", "write finished"])
def test_a_run_killed_at_its_very_end_is_completed(
    request_for: Any, reporter: Any, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    """Killed between the final model and the last write of its metrics, or after them."""

    class PowerCutError(Exception):
        pass

    def cut(*arguments: Any, **_: Any) -> None:
        if call != "write finished" or arguments[2:] == ("finished", "epochs"):
            raise PowerCutError

    with monkeypatch.context() as patch:
        if call == "draw_curve":
            patch.setattr(single_run, "draw_curve", cut)
        elif call == "clean":
            patch.setattr(checkpoint, "remove_resume_files", cut)
        else:
            write = MetricsWriter.write

            def write_unless_cut(*arguments: Any) -> None:
                cut(*arguments)
                write(*arguments)

            patch.setattr(MetricsWriter, "write", write_unless_cut)
        with pytest.raises(PowerCutError):
            pipeline.run(request_for(), reporter)
    folder = request_for().output_dir
    final = (folder / "final_model.pt").read_bytes()
    outcome = pipeline.run(request_for(resume=True), reporter)
    assert (outcome is None) == (call == "clean")  # nothing was missing
    assert json.loads((folder / "training_metrics.json").read_text())["status"] == "finished"
    assert (folder / "training_curve.png").exists()
    assert (folder / "final_model.pt").read_bytes() == final
    assert not list(folder.glob("checkpoint_*")) + list(folder.glob(".*"))


def test_metrics_record_the_status_of_a_run(request_for: Any, reporter: Any) -> None:
    def status() -> Any:
        metrics = json.loads((request_for().output_dir / "training_metrics.json").read_text())
        return metrics["status"], metrics["ended_by"], metrics["end_timestamp"] is None, metrics["run_id"]

    seen: list[Any] = []

    def record_status(progress: Any) -> None:
        if progress.epoch == 2:
            seen.append(status())

    reporter.on_step = record_status
    pipeline.run(request_for(epochs=2), reporter)
    assert {entry[:3] for entry in seen} == {("running", None, True)}
    assert status() == ("finished", "epochs", False, seen[0][3])
    stop_at(reporter, 15)
    pipeline.run(request_for(epochs=2, restart=True), reporter)
    assert status()[:3] == ("stopped", None, False)
    with pytest.raises(CheckpointError, match="holds an unfinished run"):
        pipeline.run(request_for(epochs=2), reporter)


def test_out_of_memory_is_explained(request_for: Any, reporter: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise RuntimeError("[enforce fail at alloc_cpu.cpp:124] DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr("tinyedge.train.step.TrainStep.run", fail)
    with pytest.raises(TrainingError, match="out of memory with --batch-size 16") as caught:
        pipeline.run(request_for(), reporter)
    assert "--batch-size 8" in caught.value.hint


def test_nothing_in_previous_is_ever_lost(request_for: Any, reporter: Any) -> None:
    folder = request_for().output_dir
    (folder / "previous").mkdir(parents=True)
    (folder / "previous" / "notes.txt").write_text("mine")
    for _ in range(3):
        pipeline.run(request_for(restart=True), reporter)
    names = [path.name for path in (folder / "previous").rglob("*")]
    assert names.count("final_model.pt") == 2
    assert "notes.txt" in names


def test_a_killed_run_loses_at_most_one_epoch(request_for: Any, reporter: Any) -> None:
    """A power cut in epoch 2 leaves the checkpoint of epoch 1."""

    class PowerCutError(Exception):
        pass

    def cut(progress: Any) -> None:
        if progress.epoch == 2:
            raise PowerCutError

    reporter.on_step = cut
    with pytest.raises(PowerCutError):
        pipeline.run(request_for(epochs=3), reporter)
    reporter.on_step = lambda progress: None
    resumed = pipeline.run(request_for(epochs=3, resume=True), reporter)
    assert resumed is not None
    assert any("epoch 2, step 0" in note for note in reporter.notes)
    assert resumed.state.epoch == 3


def test_a_folder_is_used_by_one_run_at_a_time(request_for: Any, reporter: Any) -> None:
    refusals: list[str] = []

    def second(progress: Any) -> None:
        if not refusals:
            with pytest.raises(TinyEdgeError) as caught:
                pipeline.run(request_for(), reporter)
            refusals.append(caught.value.message)

    reporter.on_step = second
    assert pipeline.run(request_for(), reporter) is not None
    assert "another tinyedge command is writing to" in refusals[0]


def test_damaged_shards_are_rebuilt(request_for: Any, reporter: Any) -> None:
    request = request_for()
    _, shards = pipeline.prepare_data(request, reporter)
    path = shards.folder / "train.bin"
    whole = path.read_bytes()
    path.write_bytes(b"\xff" * 20 + whole[20:])
    pipeline.prepare_data(request, reporter)
    assert path.read_bytes() == whole


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("text.txt", None),
        ("text.txt", b""),
        ("text.txt", b"\x89PNG\r\n\x1a\n" + 8 * bytes(range(256))),
        ("text.txt", b"One sentence.\n"),  # nothing can be held out
        ("text.txt", b"The dog runs home.\n\n" * 99 + b"The cat is here.\n"),  # no vocabulary
        ("text.jsonl", b'{"prompt": "turn on the lamp", "completion": "on"}\n' * 99),  # of one prompt
    ],
)
def test_refused_text_leaves_no_folder(
    request_for: Any, reporter: Any, tmp_path: Path, name: str, content: bytes | None
) -> None:
    """The error names the text that the user gave. An existing folder keeps its content."""
    text, old = tmp_path / name, tmp_path / "old"
    old.mkdir()
    if content is not None:
        text.write_bytes(content)
    before = set(tmp_path.rglob("*"))
    for folder in (tmp_path / "new" / "data", old, old / "data"):
        with pytest.raises((CorpusError, TokenizerError), match=f"^{text} "):
            pipeline.run(request_for(corpus=CorpusRequest((), (text,)), output_dir=folder), reporter)
        assert set(tmp_path.rglob("*")) == before


def test_resume_without_a_checkpoint_is_refused(fresh_request_for: Any, reporter: Any) -> None:
    with pytest.raises(CheckpointError, match="has no checkpoint to resume from"):
        pipeline.run(fresh_request_for(resume=True), reporter)
    assert not fresh_request_for().output_dir.exists()  # refused before a corpus was made


def test_skipped_phases_need_their_files(fresh_request_for: Any, reporter: Any) -> None:
    with pytest.raises(CorpusError, match=r"corpus_bilingual\.txt does not exist"):
        pipeline.run(fresh_request_for(skip_corpus=True), reporter)
    with pytest.raises(TokenizerError, match=r"bilingual_1k\.model does not exist"):
        pipeline.run(fresh_request_for(skip_tokenizer=True), reporter)


def test_a_foreign_corpus_is_used_but_not_replaced(fresh_request_for: Any, reporter: Any) -> None:
    request = fresh_request_for()
    request.output_dir.mkdir()
    mine = request.output_dir / "corpus_bilingual.txt"
    mine.write_text(request.corpus.inputs[0].read_text())
    text = mine.read_text()
    with pytest.raises(CorpusError, match="was not written by tinyedge") as caught:
        pipeline.run(request, reporter)
    assert "--skip-corpus" in caught.value.hint
    pipeline.run(fresh_request_for(skip_corpus=True), reporter)
    assert mine.read_text() == text


def test_a_text_too_small_for_its_vocabulary_names_the_largest(request_for: Any, reporter: Any) -> None:
    vocabulary = TokenizerConfig(vocab_size=8000)
    model = dataclasses.replace(MODEL, vocab_size=8000)
    with pytest.raises(TokenizerError, match=r"the largest that works is (\d+)") as caught:
        pipeline.run(request_for(tokenizer=vocabulary, model=model), reporter)
    largest = int(caught.value.message.split()[-1])
    vocabulary = TokenizerConfig(vocab_size=largest)
    model = dataclasses.replace(MODEL, vocab_size=largest)
    assert pipeline.run(request_for(tokenizer=vocabulary, model=model), reporter) is not None


def test_a_size_that_the_user_did_not_choose_is_reduced_and_kept(request_for: Any, reporter: Any) -> None:
    flags = {
        "tokenizer": TokenizerConfig(vocab_size=8000),
        "model": dataclasses.replace(MODEL, vocab_size=8000),
        "flexible": frozenset({"vocab_size"}),
    }
    folder = request_for().output_dir
    stop_at(reporter, 2)
    pipeline.run(request_for(**flags), reporter)
    assert any("the text is too small for 8000" in note for note in reporter.notes)
    reporter.on_step = lambda progress: None
    assert run_training(request_for(**flags, resume=True), reporter).ended_by == "epochs"
    assert pipeline.run(request_for(**flags), reporter) is None
    trained = checkpoint.load_model(folder / "final_model.pt")
    assert 1000 < trained.config.vocab_size < 8000
    assert (
        checkpoint.load_tokenizer(folder / "final_model.pt", trained).vocab_size == trained.config.vocab_size
    )


def test_a_skipped_tokenizer_gives_the_model_its_size(request_for: Any, reporter: Any) -> None:
    model = dataclasses.replace(MODEL, vocab_size=8000)
    flags = {"model": model, "tokenizer": TokenizerConfig(8000), "skip_tokenizer": True}
    pipeline.run(request_for(**flags, flexible=frozenset({"vocab_size"})), reporter)
    trained = checkpoint.load_model(request_for().output_dir / "final_model.pt")
    assert trained.config.vocab_size == 1000


def test_a_resume_on_another_text_names_the_text(
    request_for: Any, reporter: Any, other_text: CorpusRequest
) -> None:
    """The other tokenizer, and perhaps another vocabulary size, follow from the text."""
    stop_at(reporter, 2)
    pipeline.run(request_for(), reporter)
    reporter.on_step = lambda progress: None
    with pytest.raises(CheckpointError, match="was trained on another text: --input, --source") as caught:
        pipeline.run(request_for(corpus=other_text, resume=True), reporter)
    assert "omit --input and --source" in caught.value.hint
    resumed = run_training(request_for(skip_corpus=True, resume=True), reporter)  # as the hint says
    assert resumed.ended_by == "epochs"


@pytest.mark.parametrize("is_metrics_file_full", [False, True])
def test_a_full_disk_ends_the_run_with_the_status_failed(
    request_for: Any, reporter: Any, monkeypatch: pytest.MonkeyPatch, is_metrics_file_full: bool
) -> None:
    """Where not even the metrics can be written, the status in the existing file is changed."""
    folder, saves = request_for().output_dir, []
    save_last, write_json = checkpoint.save_last, files.write_json
    full = OSError(errno.ENOSPC, "No space left on device")

    def save(*arguments: Any) -> None:
        saves.append(arguments)
        if len(saves) > 1:
            raise full
        save_last(*arguments)

    def write(path: Path, value: Any) -> None:
        if is_metrics_file_full and len(saves) > 1:
            raise full
        write_json(path, value)

    monkeypatch.setattr(checkpoint, "save_last", save)
    monkeypatch.setattr(files, "write_json", write)
    with pytest.raises(OSError, match="No space left"):
        pipeline.run(request_for(epochs=3), reporter)
    assert json.loads((folder / "training_metrics.json").read_text())["status"] == "failed"
    monkeypatch.setattr(checkpoint, "save_last", save_last)
    monkeypatch.setattr(files, "write_json", write_json)
    run_training(request_for(epochs=3, resume=True), reporter)
    assert json.loads((folder / "training_metrics.json").read_text())["status"] == "finished"


def read_contents(folder: Path) -> dict[str, bytes]:
    found = (path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in found}


@pytest.fixture
def other_text(tmp_path: Path) -> CorpusRequest:
    return CorpusRequest((), (write_phrases(tmp_path / "other.txt", 200, 420),))


@pytest.mark.parametrize("how", ["resume", "neither", "a vocabulary that is too large", "an interrupt"])
def test_an_error_keeps_the_data_of_an_unfinished_run(
    request_for: Any, reporter: Any, other_text: CorpusRequest, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = request_for().output_dir
    stop_at(reporter, 2)
    pipeline.run(request_for(), reporter)
    before = read_contents(folder)
    flags: dict[str, Any] = {"resume": True} if how == "resume" else {"restart": how != "neither"}
    if "vocabulary" in how:
        flags |= {
            "tokenizer": TokenizerConfig(vocab_size=20_000),
            "model": dataclasses.replace(MODEL, vocab_size=20_000),
        }
    if how == "an interrupt":
        monkeypatch.setattr(pipeline, "build_shards", lambda *_: os.kill(os.getpid(), signal.SIGINT))
        signal.signal(signal.SIGINT, signal.default_int_handler)
    with pytest.raises((CheckpointError, TokenizerError, KeyboardInterrupt)):
        pipeline.run(request_for(corpus=other_text, **flags), reporter)
    assert read_contents(folder) == before
    reporter.on_step = lambda progress: None
    monkeypatch.undo()
    monkeypatch.setattr(single_run, "draw_curve", lambda run, path: path.write_bytes(b"drawn"))
    assert run_training(request_for(resume=True), reporter).ended_by == "epochs"


def test_a_kill_keeps_the_data_of_an_unfinished_run(
    request_for: Any, reporter: Any, other_text: CorpusRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SIGKILL arrives while other data is replacing it, so that no cleanup code can run."""
    folder = request_for().output_dir
    stop_at(reporter, 2)
    pipeline.run(request_for(), reporter)
    before = read_contents(folder)
    child = os.fork()
    if not child:
        monkeypatch.setattr(pipeline, "build_shards", lambda *_: os.kill(os.getpid(), signal.SIGKILL))
        pipeline.run(request_for(corpus=other_text, restart=True), reporter)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert read_contents(folder)["corpus_bilingual.txt"] != before["corpus_bilingual.txt"]
    reporter.on_step = lambda progress: None
    assert run_training(request_for(resume=True), reporter).ended_by == "epochs"
    after = read_contents(folder)
    assert not [name for name in after if name.startswith(".")]
    assert {name for name in before if after.get(name) != before[name]} <= {
        checkpoint.LAST_FILE,
        "training_metrics.json",
    }


def test_the_previous_run_keeps_its_tokenizer_and_text(
    request_for: Any, reporter: Any, other_text: CorpusRequest
) -> None:
    folder = request_for().output_dir
    pipeline.run(request_for(), reporter)
    before = read_contents(folder)
    pipeline.run(request_for(corpus=other_text), reporter)
    (previous,) = (folder / "previous").iterdir()
    assert read_contents(previous) == before
    assert read_contents(folder)["bilingual_1k.model"] != before["bilingual_1k.model"]
    trained = checkpoint.load_model(previous / "final_model.pt")
    checkpoint.load_tokenizer(previous / "final_model.pt", trained)


def test_a_kill_while_a_run_is_archived_is_undone(
    request_for: Any, reporter: Any, other_text: CorpusRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some of its files are in one folder and some in the other."""
    folder = request_for().output_dir
    pipeline.run(request_for(), reporter)
    before = read_contents(folder)
    rename = Path.rename

    class PowerCutError(Exception):
        pass

    def cut(path: Path, target: Path) -> Path:
        if path.name == "final_model.pt":
            raise PowerCutError
        return rename(path, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", cut)
        patch.setattr(previous_run, "_restore", lambda *_: False)
        with pytest.raises(PowerCutError):
            pipeline.run(request_for(corpus=other_text), reporter)
    assert not (folder / "best_model.pt").exists()
    reporter.notes.clear()
    assert pipeline.run(request_for(), reporter) is None  # the finished run is there again
    assert read_contents(folder) == before
    assert reporter.notes[0].startswith("data: restored what a killed command had replaced in")


def test_symbolic_links_of_the_user_are_kept(
    request_for: Any, reporter: Any, other_text: CorpusRequest
) -> None:
    """For example to a corpus on another disk."""
    folder = request_for().output_dir
    pipeline.run(request_for(), reporter)
    (folder.parent / "kept").mkdir()
    for name in ("corpus_bilingual.txt", "bilingual_1k.model"):
        (folder / name).rename(folder.parent / "kept" / name)
        (folder / name).symlink_to(Path("..", "kept", name))
    before = read_contents(folder)
    with pytest.raises(CheckpointError, match="holds a finished run with other"):
        pipeline.run(request_for(epochs=2, resume=True), reporter)
    assert read_contents(folder) == before
    assert (folder / "bilingual_1k.model").is_symlink()
    pipeline.run(request_for(corpus=other_text), reporter)
    (previous,) = (folder / "previous").iterdir()
    assert read_contents(previous) == before


def test_an_empty_preserved_folder_is_ignored(request_for: Any, reporter: Any) -> None:
    folder = request_for().output_dir
    pipeline.run(request_for(), reporter)
    before = read_contents(folder)
    (folder / ".earlier").mkdir()
    assert pipeline.run(request_for(), reporter) is None
    assert read_contents(folder) == before


@pytest.mark.parametrize("kind", ["file", "link", "folder"])
def test_a_preserved_folder_of_the_user_is_not_removed(request_for: Any, reporter: Any, kind: str) -> None:
    folder = request_for().output_dir
    folder.mkdir(parents=True, exist_ok=True)
    if kind == "file":
        (folder / ".earlier").write_text("x")
    elif kind == "link":
        (folder.parent / "elsewhere").mkdir()
        (folder / ".earlier").symlink_to(folder.parent / "elsewhere")
    else:
        (folder / ".earlier" / "mine").mkdir(parents=True)
    before = sorted(folder.rglob("*"))
    with pytest.raises(CheckpointError, match="is not from tinyedge"):
        pipeline.run(request_for(), reporter)
    assert sorted(folder.rglob("*")) == before


def test_data_is_preserved_without_hard_links(
    request_for: Any, reporter: Any, other_text: CorpusRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_link(*_: Any) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_link)
    test_the_previous_run_keeps_its_tokenizer_and_text(request_for, reporter, other_text)
