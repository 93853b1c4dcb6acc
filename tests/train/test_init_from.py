"""Runs that go on from a trained model: what is kept, what is measured, and what is refused."""

import dataclasses
import json
import os
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support.phrases import write_phrases
from tests.support.recording_reporter import RecordingReporter
from tests.support.syllables import syllable_lines

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tinyedge.core.errors import CheckpointError, TokenizerError, UsageError
from tinyedge.corpus.build import CorpusRequest
from tinyedge.text.shards import Shards
from tinyedge.text.train_tokenizer import TokenizerConfig
from tinyedge.text.vocabulary_report import load_report
from tinyedge.train import pipeline, single_run
from tinyedge.train.batches import make_batches
from tinyedge.train.data import Batch, Layout
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.limits import RunLimits
from tinyedge.train.recipe import GOING_ON, resolve
from tinyedge.train.replay import concatenate
from tinyedge.train.run_request import RunRequest
from tinyedge.train.storage import checkpoint
from tinyedge.train.storage.initial import InitialModel, adopt_shape, load_initial_model
from tinyedge.train.validation import validate

from .conftest import SMALL

ROOT = Path(__file__).parents[2]
CPU = choose_hardware("cpu", "fp32")


def make_request(folder: Path, text: Path, **changes: Any) -> RunRequest:
    request = RunRequest(
        output_dir=folder,
        corpus=CorpusRequest((), (text,)),
        tokenizer=TokenizerConfig(vocab_size=1000),
        model=SMALL,
        training=resolve("fast", {"epochs": 2, "batch_size": 64}),
        hardware=CPU,
        limits=RunLimits(),
    )
    return dataclasses.replace(request, **changes)


def go_on(folder: Path, text: Path, initial: InitialModel, recipe: str = "fast", **flags: Any) -> RunRequest:
    training = resolve(recipe, {"epochs": 1, "batch_size": 64, **flags}, initial.model_id)
    return make_request(folder, text, initial=initial, model=initial.config, training=training)


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(single_run, "draw_curve", lambda run, path: path.write_bytes(b"drawn"))


@pytest.fixture(scope="module")
def old_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("old")
    text = write_phrases(folder.parent / "old.txt", 0, 200)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(single_run, "draw_curve", lambda run, path: path.write_bytes(b"drawn"))
        pipeline.run(make_request(folder, text), RecordingReporter())
    return folder


@pytest.fixture
def new_text(tmp_path: Path) -> Path:
    return write_phrases(tmp_path / "new.txt", 200, 260)


def measure(folder: Path, shards: Shards) -> dict[str, float]:
    model = checkpoint.load_model(folder / "best_model.pt").model
    return {q.name: q.bits_per_byte for q in validate(model, shards.validation(), CPU.device)}


@pytest.mark.parametrize("recipe", list(GOING_ON))
def test_a_run_goes_on_with_weights_and_vocabulary_and_shows_both_texts(
    old_run: Path, new_text: Path, tmp_path: Path, recipe: str
) -> None:
    initial = load_initial_model(old_run, tmp_path / "run")
    reporter = RecordingReporter()
    folder = tmp_path / "run"
    pipeline.run(go_on(folder, new_text, initial, recipe), reporter)
    name = "bilingual_1k.model"
    assert (folder / name).read_bytes() == (old_run / name).read_bytes()
    metrics = json.loads((folder / "training_metrics.json").read_text())["init_from"]
    assert metrics["path"] == str(old_run / "best_model.pt")
    assert metrics["model_id"] == initial.model_id
    old, new = Shards.load(old_run / "shards"), Shards.load(folder / "shards")
    assert metrics["before"] == {"new": measure(old_run, new), "old": measure(old_run, old)}
    assert metrics["after"] == {"new": measure(folder, new), "old": measure(folder, old)}
    assert metrics["after"]["new"]["all"] < metrics["before"]["new"]["all"]
    for text in ("new", "old"):
        assert any(f"of the {text} text, before and after: all" in note for note in reporter.notes)
    summary = checkpoint.load(folder / "best_model.pt")["config"]["summary"]
    assert summary["init_from"] == initial.model_id


def test_the_first_step_begins_with_exactly_the_initial_weights(
    old_run: Path, new_text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    initial = load_initial_model(old_run / "final_model.pt", tmp_path / "run")
    request = go_on(tmp_path / "run", new_text, initial)
    _, shards = pipeline.prepare_data(request, RecordingReporter())
    from tinyedge.train.distributed import SINGLE_PROCESS

    trainer = request.make_trainer(initial.tokenizer, shards, RecordingReporter(), SINGLE_PROCESS)
    for name, weight in trainer.model.state_dict().items():
        assert torch.equal(weight, initial.weights[name]), name


def test_a_stopped_run_goes_on_to_the_same_weights(old_run: Path, new_text: Path, tmp_path: Path) -> None:
    initial = load_initial_model(old_run, tmp_path / "a")
    pipeline.run(go_on(tmp_path / "a", new_text, initial, epochs=2), RecordingReporter())
    reporter = RecordingReporter()

    def stop(progress: Any) -> None:
        if progress.step == 2:
            os.kill(os.getpid(), signal.SIGINT)

    reporter.on_step = stop
    request = go_on(tmp_path / "b", new_text, initial, epochs=2)
    outcome = pipeline.run(request, reporter)
    assert outcome
    assert outcome.signal == signal.SIGINT
    reporter.on_step = lambda progress: None
    pipeline.run(dataclasses.replace(request, resume=True), reporter)
    for name in ("best_model.pt", "final_model.pt"):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    first, second = (
        json.loads((tmp_path / name / "training_metrics.json").read_text())["init_from"] for name in "ab"
    )
    assert first == second


def test_a_run_from_another_model_cannot_be_resumed(old_run: Path, new_text: Path, tmp_path: Path) -> None:
    initial = load_initial_model(old_run, tmp_path / "run")
    reporter = RecordingReporter()
    reporter.on_step = lambda progress: os.kill(os.getpid(), signal.SIGINT)
    request = go_on(tmp_path / "run", new_text, initial, epochs=2)
    pipeline.run(request, reporter)
    other = dataclasses.replace(initial, model_id="0" * 12)
    again = go_on(tmp_path / "run", new_text, other, epochs=2)
    with pytest.raises(UsageError, match=f"init_from is {initial.model_id} there, {'0' * 12} here"):
        pipeline.run(dataclasses.replace(again, resume=True), RecordingReporter())


def test_a_finished_run_with_the_same_settings_is_reused(
    old_run: Path, new_text: Path, tmp_path: Path
) -> None:
    initial = load_initial_model(old_run, tmp_path / "run")
    request = go_on(tmp_path / "run", new_text, initial)
    assert pipeline.run(request, RecordingReporter()) is not None
    reporter = RecordingReporter()
    assert pipeline.run(request, reporter) is None
    assert any(note.startswith("tokenizer: reused") for note in reporter.notes)


def test_no_later_run_replaces_the_kept_vocabulary_silently(
    old_run: Path, new_text: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    initial = load_initial_model(old_run, folder)
    pipeline.run(go_on(folder, new_text, initial), RecordingReporter())
    kept = load_report(folder)
    assert kept
    assert kept.other_corpus == f"the text of {old_run}"
    with pytest.raises(TokenizerError, match="was trained on the text of"):
        pipeline.run(make_request(folder, new_text), RecordingReporter())


def test_without_the_old_text_the_user_is_told_so(old_run: Path, new_text: Path, tmp_path: Path) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    for name in ("best_model.pt", "bilingual_1k.model"):
        shutil.copy(old_run / name, moved)
    initial = load_initial_model(moved / "best_model.pt", tmp_path / "run")
    reporter = RecordingReporter()
    pipeline.run(go_on(tmp_path / "run", new_text, initial), reporter)
    assert any("is gone, so it is not known what the model lost" in note for note in reporter.notes)
    metrics = json.loads((tmp_path / "run" / "training_metrics.json").read_text())["init_from"]
    assert set(metrics["before"]) == set(metrics["after"]) == {"new"}


def test_a_loss_of_more_than_three_percent_is_a_warning(
    old_run: Path, new_text: Path, tmp_path: Path
) -> None:
    initial = load_initial_model(old_run, tmp_path / "run")
    reporter = RecordingReporter()
    request = go_on(tmp_path / "run", new_text, initial, epochs=3, learning_rate=0.5)
    pipeline.run(request, reporter)
    assert any(note.startswith("warning: the model lost") for note in reporter.notes)


def test_another_shape_is_an_error_that_lists_what_differs(old_run: Path, tmp_path: Path) -> None:
    initial = load_initial_model(old_run, tmp_path / "run")
    assert adopt_shape(initial, {}) == SMALL
    assert adopt_shape(initial, {"d_model": SMALL.d_model, "vocab_size": 1000}) == SMALL
    with pytest.raises(UsageError) as caught:
        adopt_shape(initial, {"d_model": 128, "nhead": SMALL.nhead, "num_layers": 3})
    assert "d_model is 64 there, 128 here; num_layers is 1 there, 3 here" in caught.value.message
    assert caught.value.parameters == ("d_model", "num_layers")


def test_the_folder_of_the_model_is_no_place_for_the_new_run(old_run: Path) -> None:
    for output_dir in (old_run, old_run.parent):
        with pytest.raises(UsageError, match="the new run would replace it"):
            load_initial_model(old_run, output_dir)


def broken_vocabulary(old_run: Path, folder: Path) -> Path:
    shutil.copy(old_run / "best_model.pt", folder)
    return folder / "best_model.pt"


def other_vocabulary(old_run: Path, folder: Path) -> Path:
    shutil.copy(old_run / "best_model.pt", folder)
    shutil.copy(ROOT / "tests/data/micro_bundle_int8/tokenizer.model", folder / "bilingual_1k.model")
    return folder / "best_model.pt"


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda old, folder: folder, CheckpointError, "has neither best_model.pt nor final_model.pt"),
        (lambda old, folder: ROOT / "tests/data/micro_bundle_int8", CheckpointError, "is a bundle"),
        (lambda old, folder: folder / "missing.pt", CheckpointError, "does not exist"),
        (broken_vocabulary, TokenizerError, "--init-from: .*bilingual_1k.model does not exist"),
        (other_vocabulary, CheckpointError, "--init-from: .*was trained with"),
    ],
)
def test_what_is_no_initial_model_is_an_error(
    old_run: Path,
    tmp_path: Path,
    make: Callable[[Path, Path], Path],
    error: type[Exception],
    message: str,
) -> None:
    folder = tmp_path / "from"
    folder.mkdir()
    with pytest.raises(error, match=message):
        load_initial_model(make(old_run, folder), tmp_path / "run")


def test_a_part_of_each_batch_repeats_the_old_text(old_run: Path, new_text: Path, tmp_path: Path) -> None:
    initial = load_initial_model(old_run, tmp_path / "run")
    request = go_on(tmp_path / "run", new_text, initial, replay=0.5, batch_size=10)
    tokenizer, new = pipeline.prepare_data(request, RecordingReporter())
    old = initial.held_out
    assert old
    batches = make_batches(new, request.training, SMALL.max_seq_length, tokenizer, old)
    alone = make_batches(new, request.training, SMALL.max_seq_length, tokenizer)
    assert batches.steps_per_epoch == alone.steps_per_epoch
    assert batches.rows == 15
    old_text = old.training()[0 : old.train_tokens].tobytes()
    seen = set()
    steps = 2 * old.train_tokens // (5 * SMALL.max_seq_length)  # two passes over the old text
    for place in range(steps):
        epoch, step = divmod(place, batches.steps_per_epoch)
        batch, without = batches.batch(epoch, step), alone.batch(epoch, step)
        added = batch.inputs[len(without.inputs) :]
        assert batch.inputs[: len(without.inputs)].equal(without.inputs)
        assert 1 <= len(added) <= 5  # fewer at the end of the old text
        for row in added:
            assert row.numpy().astype("<u2").tobytes() in old_text
            seen.add(tuple(row.tolist()))
    assert len(seen) > 5 * steps / 3


def test_repeated_text_beside_pairs_counts_every_target() -> None:
    text = Batch(torch.arange(8).view(2, 4), torch.arange(8).view(2, 4))
    layout = Layout(
        torch.zeros(1, 4).long(), torch.ones(1, 4).long(), torch.tensor([[False, True, True, False]])
    )
    pairs = Batch(torch.ones(1, 4).long(), torch.ones(1, 4).long(), layout=layout)
    both = concatenate(pairs, text)
    assert both.layout
    assert both.layout.counted.tolist() == [[False, True, True, False], [True] * 4, [True] * 4]
    assert both.layout.positions[1:].tolist() == [[0, 1, 2, 3]] * 2
    assert both.predictions == 10
    assert both.share(slice(0, 1)) == pytest.approx(0.2)
    assert concatenate(text, text).layout is None


def test_replay_keeps_the_old_text_better(old_run: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.txt"
    lines = syllable_lines(400)
    other.write_text("\n\n".join("\n".join(lines[start : start + 20]) for start in range(0, 400, 20)))
    losses = []
    for replay in (0.0, 1.0):
        folder = tmp_path / f"run{replay}"
        initial = load_initial_model(old_run, folder)
        request = go_on(folder, other, initial, epochs=4, learning_rate=3e-3, batch_size=8, replay=replay)
        pipeline.run(request, RecordingReporter())
        metrics = json.loads((folder / "training_metrics.json").read_text())["init_from"]
        losses.append(metrics["after"]["old"]["all"] / metrics["before"]["old"]["all"])
    assert losses[1] < losses[0]
