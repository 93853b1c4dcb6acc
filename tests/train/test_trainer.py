"""The training loop: it learns, is reproducible to the bit, and a stopped run loses nothing."""

import dataclasses
import itertools
import json
import math
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.support.forgery import forge
from tests.support.recording_reporter import RecordingReporter

pytest.importorskip("torch", reason="training needs the extra `train`")

import torch

from tinyedge.core.errors import CheckpointError, TrainingError, UsageError
from tinyedge.core.run_files import is_finished
from tinyedge.core.runs import METRICS_FILE
from tinyedge.text.evaluate import Quality
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train.hardware import choose_hardware
from tinyedge.train.limits import RunLimits
from tinyedge.train.methods import subword_regularization
from tinyedge.train.model_id import compute_model_id
from tinyedge.train.pace import Pace
from tinyedge.train.recipe import resolve
from tinyedge.train.report.advice import Advice
from tinyedge.train.report.metrics import MetricsWriter
from tinyedge.train.report.reporter import Progress
from tinyedge.train.state import State
from tinyedge.train.storage import checkpoint
from tinyedge.train.trainer import Trainer

Make = Callable[..., tuple[Trainer, RecordingReporter]]
NO_LIMITS = RunLimits()
PAUSE_S = 30.0  # of validation, by a fake clock


def weight_bytes(trainer: Trainer) -> bytes:
    return b"".join(value.numpy().tobytes() for value in trainer.model.state_dict().values())


@pytest.mark.parametrize("recipe", ["fast", "guide"])
def test_a_run_learns_and_writes_the_guides_files(make_trainer: Make, tmp_path: Path, recipe: str) -> None:
    trainer, reporter = make_trainer(tmp_path, recipe, epochs=5, learning_rate=3e-3)
    outcome = trainer.run(NO_LIMITS)
    first, last = reporter.records[0], reporter.records[-1]
    assert last.val_loss < first.val_loss < 6.9  # ln(1000) = 6.91
    assert set(last.val_bits_per_byte) == {"all", "en", "es"}
    assert {p.name for p in tmp_path.iterdir()} == {
        "best_model.pt",
        "checkpoint_before_last.pt",
        "checkpoint_epoch_5.pt",
        "checkpoint_last.pt",
        "final_model.pt",
    }
    full = torch.load(tmp_path / "checkpoint_epoch_5.pt", weights_only=True)
    guide = {"epoch", "model_state_dict", "optimizer_state_dict", "train_loss", "val_loss", "config"}
    assert guide <= set(full)
    assert full["epoch"] == 5
    final = torch.load(tmp_path / "final_model.pt", weights_only=True)
    assert "optimizer_state_dict" not in final
    epochs = [sample["epoch"] for sample in outcome.state.samples]
    assert epochs == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5]  # one for each language, and noise at first
    assert outcome.signal is None


def test_weights_depend_on_the_seed_alone(make_trainer: Make, tmp_path: Path) -> None:
    results = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        trainer, _ = make_trainer(folder, seed=seed, epochs=1, stride=64)
        trainer.run(NO_LIMITS)
        results.append(weight_bytes(trainer))
    assert results[0] == results[1] != results[2]


def test_equal_runs_write_equal_models_whatever_the_time(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To the byte; also a run that was stopped and resumed, and whatever its speed was."""
    read_clock = Pace.read_clock
    contents = []
    for number in range(3):
        folder = tmp_path / str(number)
        folder.mkdir()

        def read_later(pace: Pace, number: int = number) -> tuple[float, float]:
            run_s, epoch_s = read_clock(pace)
            return run_s + 60 * number, epoch_s + 60 * number

        monkeypatch.setattr(Pace, "read_clock", read_later)
        trainer, reporter = make_trainer(folder, stride=64)
        if number == 2:

            def stop(progress: Progress) -> None:
                if progress.step == 2:
                    os.kill(os.getpid(), signal.SIGTERM)

            reporter.on_step = stop
            assert trainer.run(NO_LIMITS).signal == signal.SIGTERM
            trainer, _ = make_trainer(folder, stride=64)
            trainer.resume(folder / checkpoint.LAST_FILE)
        trainer.run(NO_LIMITS)
        contents.append([(folder / name).read_bytes() for name in ("best_model.pt", "final_model.pt")])
    assert contents[0] == contents[1] == contents[2]
    best = torch.load(tmp_path / "0" / "best_model.pt", weights_only=True)
    guide = {"epoch", "model_state_dict", "optimizer_state_dict", "train_loss", "val_loss", "config"}
    assert guide <= set(best)


def test_a_run_killed_before_its_best_model_writes_it_when_it_resumes(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    best, written = tmp_path / checkpoint.BEST_FILE, []
    save_best = Trainer._save_best

    def die(trainer: Trainer) -> None:
        save_best(trainer)
        if trainer.state.epoch:
            written.append(best.read_bytes())
            best.unlink()
            raise InterruptedError

    trainer, _ = make_trainer(tmp_path, stride=64)
    monkeypatch.setattr(Trainer, "_save_best", die)
    with pytest.raises(InterruptedError):
        trainer.run(NO_LIMITS)
    monkeypatch.setattr(Trainer, "_save_best", save_best)
    resumed, reporter = make_trainer(tmp_path, stride=64)
    resumed.resume(tmp_path / checkpoint.LAST_FILE)
    reporter.on_step = lambda progress: os.kill(os.getpid(), signal.SIGTERM)
    resumed.run(NO_LIMITS)
    assert [best.read_bytes()] == written


def test_each_epoch_records_the_id_of_its_model(make_trainer: Make, tmp_path: Path) -> None:
    trainer, reporter = make_trainer(tmp_path, epochs=2, stride=64)
    trainer.run(NO_LIMITS)
    ids = [record.model_id for record in reporter.records]
    assert len(set(ids)) == 2
    final = checkpoint.load_model(tmp_path / checkpoint.FINAL_FILE)
    tokenizer_sha256 = final.tokenizer_sha256
    assert ids[-1] == compute_model_id(final.model.state_dict(), final.config, tokenizer_sha256)


@pytest.mark.parametrize("recipe", ["fast", "guide"])
def test_an_interrupted_and_resumed_run_equals_an_uninterrupted_one(
    make_trainer: Make, tmp_path: Path, recipe: str
) -> None:
    whole = tmp_path / "whole"
    parts = tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    reference, _ = make_trainer(whole, recipe, stride=64)
    reference.run(NO_LIMITS)
    stops = iter([(3, signal.SIGINT), (9, signal.SIGTERM)])
    for _ in range(2):
        step, number = next(stops)
        trainer, reporter = make_trainer(parts, recipe, stride=64)
        if checkpoint.list_resumable(parts):
            trainer.resume(checkpoint.find_newest(parts, pytest.fail))

        def stop(progress: Progress, step: int = step, number: int = number) -> None:
            if progress.step == step:
                os.kill(os.getpid(), number)

        reporter.on_step = stop
        outcome = trainer.run(NO_LIMITS)
        assert outcome.signal == number
        assert not (parts / "final_model.pt").exists()
    torch.manual_seed(99)  # random numbers drawn in between must not matter
    trainer, _ = make_trainer(parts, recipe, stride=64)
    trainer.resume(parts / checkpoint.LAST_FILE)
    trainer.run(NO_LIMITS)
    assert weight_bytes(trainer) == weight_bytes(reference)
    volatile = {"tokens_per_second", "elapsed_s"}
    histories = [
        [{k: v for k, v in record.items() if k not in volatile} for record in t.state.history]
        for t in (trainer, reference)
    ]
    assert histories[0] == histories[1]


def test_signal_handlers_are_restored(make_trainer: Make, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    make_trainer(tmp_path, epochs=1, stride=2000)[0].run(NO_LIMITS)
    assert signal.getsignal(signal.SIGINT) is before


def test_a_tiny_time_limit_still_gives_a_model(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=500)
    outcome = trainer.run(RunLimits(max_minutes=1e-6))
    assert outcome.ended_by == "max-minutes"
    assert checkpoint.load_model(tmp_path / "final_model.pt").training["epochs"] == 1
    resumed, _ = make_trainer(tmp_path, epochs=500)
    resumed.resume(tmp_path / checkpoint.LAST_FILE)
    resumed.run(RunLimits(max_minutes=1e-6))
    assert resumed.state.history == trainer.state.history  # the time limit was reached: no step was run


def test_the_schedule_fits_the_time_limit(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The clock advances one second per reading. The run has 500 epochs and half a minute."""
    trainer, reporter = make_trainer(tmp_path, epochs=500)
    clock = itertools.count()
    monkeypatch.setattr("tinyedge.train.pace.time.monotonic", lambda: float(next(clock)))
    rates: list[float] = []
    reporter.on_step = lambda progress: rates.append(progress.lr)
    outcome = trainer.run(RunLimits(max_minutes=0.5))
    assert outcome.ended_by == "max-minutes"
    assert 10 < len(rates) <= 31
    peak = rates.index(max(rates))
    assert rates[peak:] == sorted(rates[peak:], reverse=True)
    assert rates[-1] < 0.1 * 3e-3


@pytest.mark.parametrize("limit_s", [40.0, 90.0, 200.0])
def test_the_last_validation_ends_within_the_time_limit(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit_s: float
) -> None:
    """A step takes one second, validation and saving take nine; the run has several epochs."""
    trainer, _ = make_trainer(tmp_path, epochs=500, stride=400)
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("tinyedge.train.pace.time.monotonic", lambda: clock.now)

    def step(*arguments: Any) -> Any:
        clock.now += 1
        return run_step(*arguments)

    def slow_validate() -> list[Quality]:
        clock.now += 9
        return [Quality.from_sums("all", 4.0, 1, 1, 0)]

    run_step = trainer._train_step.run
    monkeypatch.setattr(trainer._train_step, "run", step)
    trainer._validate = slow_validate  # type: ignore[method-assign]
    outcome = trainer.run(RunLimits(max_minutes=limit_s / 60))
    assert outcome.ended_by == "max-minutes"
    assert outcome.state.epoch > 1
    assert limit_s - 2 * 9 - 2 < clock.now <= limit_s  # else there was time for a step and another validation
    again, _ = make_trainer(tmp_path, epochs=500, stride=400)
    again.resume(tmp_path / checkpoint.LAST_FILE)
    assert again.run(RunLimits(max_minutes=limit_s / 60)).state.history == outcome.state.history


def test_patience_ends_a_run_that_does_not_improve(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=50, stride=2000)
    worse = iter([4.0, 5.0, 3.9, 4.0, 4.1])
    trainer._validate = lambda: [Quality.from_sums("all", next(worse), 1, 1, 0)]  # type: ignore[method-assign]
    saved: list[int] = []
    outcome = trainer.run(RunLimits(patience=2), lambda state: saved.append(state.epoch))
    assert outcome.ended_by == "patience"
    assert saved == [1, 2, 3, 4, 5]
    assert checkpoint.load(tmp_path / checkpoint.BEST_FILE)["epoch"] == 3
    again, _ = make_trainer(tmp_path, epochs=50, stride=2000)
    again.resume(tmp_path / checkpoint.LAST_FILE)
    assert again.run(RunLimits(patience=2)).state.epoch == 5  # its history shows that it has ended


def test_a_loss_of_nan_stops_the_run_at_once(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, _ = make_trainer(tmp_path, stride=200)
    run_step = trainer._train_step.run

    def explode(batch: Any, step: int, factor: float) -> tuple[float, float]:
        loss, rate = run_step(batch, step, factor)
        return (loss if step < trainer._batches.steps_per_epoch + 1 else math.nan), rate

    monkeypatch.setattr(trainer._train_step, "run", explode)
    with pytest.raises(TrainingError, match=r"the loss is nan in epoch 2, step 2") as caught:
        trainer.run(NO_LIMITS)
    assert "--learning-rate 0.0001" in caught.value.hint
    for name in (checkpoint.LAST_FILE, checkpoint.BEST_FILE):
        assert checkpoint.load(tmp_path / name)["epoch"] == 1
    assert not (tmp_path / checkpoint.FINAL_FILE).exists()


@pytest.mark.parametrize("nats", [math.nan, math.inf, 1e6])
def test_a_held_out_loss_of_nan_or_infinity_stops_the_run(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nats: float
) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=1, stride=2000)

    def validate(*_: Any) -> list[Quality]:
        return [Quality.from_sums("all", nats, 1, 1, 0)]  # raises OverflowError for 1e6

    monkeypatch.setattr("tinyedge.train.trainer.validate", validate)
    with pytest.raises(TrainingError, match=r"the loss is (nan|inf) in epoch 1"):
        trainer.run(NO_LIMITS)
    assert not list(tmp_path.iterdir())


def test_a_signal_during_validation_stops_it_at_once(make_trainer: Make, tmp_path: Path) -> None:
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    whole.mkdir()
    parts.mkdir()
    reference, _ = make_trainer(whole, stride=500)
    reference.run(NO_LIMITS)
    trainer, _ = make_trainer(parts, stride=500)
    passages = list(trainer._shards.validation())
    read: list[int] = []

    def interrupted() -> Iterator[Any]:
        for number, passage in enumerate(passages):
            if number == 3:
                os.kill(os.getpid(), signal.SIGTERM)
            read.append(number)
            yield passage

    trainer._shards = SimpleNamespace(**vars(trainer._shards), validation=interrupted)  # type: ignore
    outcome = trainer.run(NO_LIMITS)
    assert outcome.signal == signal.SIGTERM
    assert len(read) < len(passages)
    assert (outcome.state.epoch, outcome.state.history) == (0, [])
    assert not (parts / checkpoint.BEST_FILE).exists()
    resumed, _ = make_trainer(parts, stride=500)
    resumed.resume(parts / checkpoint.LAST_FILE)
    assert resumed.run(NO_LIMITS).ended_by == "epochs"
    assert weight_bytes(resumed) == weight_bytes(reference)
    assert [r["val_loss"] for r in resumed.state.history] == [r["val_loss"] for r in reference.state.history]


def test_a_signal_during_sampling_stops_the_run_after_the_samples(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trainer, reporter = make_trainer(tmp_path, epochs=6, stride=2000)

    def interrupt(prompt: str, text: str) -> None:
        if trainer.state.epoch == 5:
            os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr(reporter, "sample", interrupt)
    outcome = trainer.run(NO_LIMITS)
    assert outcome.signal == signal.SIGINT
    state = checkpoint.load(tmp_path / checkpoint.LAST_FILE)["state"]
    assert state == outcome.state.to_dict()
    assert (state["epoch"], len(state["samples"])) == (5, 2 * 6)
    assert state["step"] <= 1


def test_samples_change_no_weight_and_a_resumed_run_keeps_the_earlier_ones(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weights, samples = [], []
    for name in ("with", "without", "stopped"):
        (tmp_path / name).mkdir()
        trainer, reporter = make_trainer(tmp_path / name, stride=64)
        if name == "without":
            monkeypatch.setattr(trainer, "_generate_samples", lambda: None)
        if name == "stopped":
            reporter.on_step = lambda progress: os.kill(os.getpid(), signal.SIGINT)
            trainer.run(NO_LIMITS)
            assert [sample["epoch"] for sample in trainer.state.samples] == [0, 0]
            trainer, _ = make_trainer(tmp_path / name, stride=64)
            trainer.resume(tmp_path / name / checkpoint.LAST_FILE)
        trainer.run(NO_LIMITS)
        weights.append(weight_bytes(trainer))
        samples.append(trainer.state.samples)
    assert weights[0] == weights[1] == weights[2]
    assert samples[0] == samples[2]
    assert [sample["epoch"] for sample in samples[0]] == [0, 0, 1, 1, 2, 2]


def test_each_language_gets_a_prompt_from_its_own_held_out_text(
    make_trainer: Make, shards: Shards, tokenizer: Tokenizer, tmp_path: Path
) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=1, stride=2000)
    prompts = [sample["prompt"] for sample in trainer.run(NO_LIMITS).state.samples[:2]]
    for language, prompt in zip(("en", "es"), prompts, strict=True):
        texts = [tokenizer.decode(p.tokens.tolist()) for p in shards.validation_passages(language)]
        assert any(line.startswith(prompt) for text in texts for line in text.split("\n"))


def test_the_newest_periodic_checkpoints_are_kept(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=15, stride=4000)
    trainer.run(RunLimits(keep=2))
    names = {path.name for path in tmp_path.glob("checkpoint_epoch_*")}
    assert names == {"checkpoint_epoch_10.pt", "checkpoint_epoch_15.pt"}


def test_advice_is_given_once(make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = [Advice("slowed", "first"), Advice("long", "second")]
    monkeypatch.setattr("tinyedge.train.trainer.advise", lambda history, *_: both[: len(history)])
    trainer, reporter = make_trainer(tmp_path, epochs=3, stride=2000)
    trainer.run(NO_LIMITS)
    assert [note for note in reporter.notes if note in ("first", "second")] == ["first", "second"]
    assert trainer.state.advised == ["slowed", "long"]


def test_the_step_that_compiles_does_not_count_for_the_speed(
    make_trainer: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A step takes one second, a process's first step a thousand, validation after an epoch thirty."""
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr("tinyedge.train.pace.time.monotonic", lambda: clock.now)
    reported: list[tuple[int, float | None]] = []

    def make_compiling_trainer(stops_at: int = 0) -> tuple[Trainer, Any]:
        trainer, reporter = make_trainer(tmp_path, epochs=4, stride=64)
        run_step, seconds = trainer._train_step.run, itertools.chain([1000.0], itertools.repeat(1.0))
        validate = trainer._validate

        def slow_validate() -> Any:
            clock.now += PAUSE_S
            return validate()

        def step(*arguments: Any) -> Any:
            clock.now += next(seconds)
            return run_step(*arguments)

        def listen(progress: Progress) -> None:
            pauses = progress.epochs - progress.epoch + 1
            reported.append((progress.steps - progress.step, progress.eta_s))
            if progress.epoch > 1 and progress.eta_s is not None:  # the first pause can only be guessed
                assert progress.eta_s == pytest.approx(progress.steps - progress.step + pauses * PAUSE_S)
            if progress.step == stops_at:
                os.kill(os.getpid(), signal.SIGINT)

        monkeypatch.setattr(trainer._train_step, "run", step)
        monkeypatch.setattr(trainer, "_validate", slow_validate)
        reporter.on_step = listen
        return trainer, reporter

    steps = make_trainer(tmp_path, stride=64)[0]._batches.steps_per_epoch
    first, _ = make_compiling_trainer(stops_at=2 * steps - 3)
    assert first.run(NO_LIMITS).signal == signal.SIGINT
    second, reporter = make_compiling_trainer()
    second.resume(tmp_path / checkpoint.LAST_FILE)
    assert second.run(NO_LIMITS).ended_by == "epochs"
    unknown = [left for left, eta_s in reported if eta_s is None]
    assert unknown == [
        4 * steps - 1,
        4 * steps - (2 * steps - 3) - 2,
    ]  # the first step of each process; the signal takes effect one step later
    assert any(eta_s is not None for _, eta_s in reported[steps:])
    assert not [note for note in reporter.notes if "tokens/s now" in note]


def test_checkpoint_minutes_saves_within_an_epoch(make_trainer: Make, tmp_path: Path) -> None:
    trainer, reporter = make_trainer(tmp_path, epochs=1)
    seen: list[bool] = []
    reporter.on_step = lambda p: seen.append((tmp_path / checkpoint.LAST_FILE).exists())
    trainer.run(RunLimits(checkpoint_minutes=1e-9))
    assert seen[:3] == [False, True, True]


@pytest.mark.parametrize(
    ("flags", "words"),
    [({"epochs": 3}, "epochs is 2 there, 3 here"), ({"seed": 7}, "seed is 0 there, 7 here")],
)
def test_resume_refuses_another_run(
    make_trainer: Make, tmp_path: Path, flags: dict[str, int], words: str
) -> None:
    trainer, _ = make_trainer(tmp_path, stride=2000)
    trainer.run(NO_LIMITS)
    other, _ = make_trainer(tmp_path, stride=2000, **flags)
    with pytest.raises(UsageError, match=words):
        other.resume(tmp_path / checkpoint.LAST_FILE)


def make_hostile_changes(content: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return changes that an attacker may make to a checkpoint, each with a name."""
    state, optimizer = content["state"], content["optimizer_state_dict"]
    tables, adamw = content["tables"], optimizer["adamw"]["state"]
    average = adamw[0]["exp_avg"]

    def moments(number: int = 0, **tensors: Any) -> dict[str, Any]:
        changed = {**adamw, number: {**adamw[number], **tensors}}
        return {"optimizer_state_dict": {**optimizer, "adamw": {**optimizer["adamw"], "state": changed}}}

    return {
        "moments with one number": moments(exp_avg=torch.tensor(0.0)),
        "moments with another parameter's shape": moments(exp_avg=adamw[2]["exp_avg"]),
        "moments with another type": moments(exp_avg=average.double()),
        "moments with NaN": moments(exp_avg=average * math.nan),
        "a negative square": moments(exp_avg_sq=-1 - adamw[0]["exp_avg_sq"]),
        "no second moment": moments(exp_avg_sq=None),
        "an additional moment": moments(max_exp_avg_sq=average),
        "a step that is a vector": moments(step=torch.zeros(2)),
        "no moments": {"optimizer_state_dict": {"adamw": {"state": {}}, "muon": optimizer["muon"]}},
        "no tables": {"tables": {}},
        "no other weights": {"other_weights": None},
        "other weights with NaN": {
            "other_weights": {k: v * math.nan for k, v in content["other_weights"].items()}
        },
        "other weights with another type": {
            "other_weights": {k: v.double() for k, v in content["other_weights"].items()}
        },
        "other weights that lack one": {"other_weights": dict(list(content["other_weights"].items())[1:])},
        "tables with NaN": {"tables": {**tables, "composed.bridge": tables["composed.bridge"] * math.nan}},
        "tables with another type": {"tables": {k: v.double() for k, v in tables.items()}},
        "features with another type": {
            "tables": {**tables, "composed.index": tables["composed.index"].int()}
        },
        "tables with another shape": {"tables": {**tables, "composed.share": tables["composed.share"][1:]}},
        "negative epoch": {"state": {**state, "epoch": -1}},
        "epoch beyond the last": {"state": {**state, "epoch": 3, "history": 3 * state["history"]}},
        "step beyond the epoch": {"state": {**state, "step": 10**6}},
        "step with another type": {"state": {**state, "step": 1.5}},
        "steps without tokens": {"state": {**state, "step": 1, "loss_tokens": 0}},
        "epochs without a history": {"state": {**state, "epoch": 1 << 52}},
        "a number too large for a float": {"state": {**state, "elapsed_s": 10**400}},
        "a history without the overall value": {
            "state": {**state, "history": [{**state["history"][0], "val_bits_per_byte": {"en": 2.0}}]}
        },
        "no state": {"state": None},
        "no optimizer": {"optimizer_state_dict": None},
        "an optimizer with other names": {"optimizer_state_dict": {}},
        "an optimizer that is a list": {"optimizer_state_dict": {**optimizer, "adamw": [1]}},
        "random state with another size": {"rng": torch.zeros(3, dtype=torch.uint8)},
        "random state with another type": {"rng": "0"},
        "a format that is a tensor": {"format": torch.zeros(2)},
        "a weight too large for memory": {
            "model_state_dict": {**content["model_state_dict"], "more": torch.zeros(1).expand(10**13)}
        },
        "weights with NaN": {
            "model_state_dict": {k: v * math.nan for k, v in content["model_state_dict"].items()}
        },
    }


def test_a_hostile_state_is_refused(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=1, stride=2000)
    trainer.run(NO_LIMITS)
    victim, _ = make_trainer(tmp_path, epochs=1, stride=2000)
    path = tmp_path / "hostile.pt"
    content = checkpoint.load(tmp_path / checkpoint.LAST_FILE)
    for name, change in make_hostile_changes(content).items():
        path.write_bytes(forge({**content, **change}))
        with pytest.raises(CheckpointError, match=r"hostile\.pt") as caught:
            victim.resume(path)
        assert "\n" not in caught.value.message, name
    assert (victim.state.epoch, victim.state.history) == (0, [])


def test_a_state_with_shared_memory_is_copied(make_trainer: Make, tmp_path: Path) -> None:
    """An expanded scalar has the shape of a matrix, but the fused step would write beyond its memory."""
    trainer, _ = make_trainer(tmp_path, epochs=1, stride=2000)
    trainer.run(NO_LIMITS)
    content = checkpoint.load(tmp_path / checkpoint.LAST_FILE)
    groups = content["optimizer_state_dict"]["adamw"]["param_groups"]
    groups[0].update(lr=1e6, weight_decay=1e6, params=[0] * 1000)
    for moments in content["optimizer_state_dict"]["adamw"]["state"].values():
        moments["exp_avg"] = torch.tensor(0.5).expand(moments["exp_avg"].shape)
    path = tmp_path / "expanded.pt"
    path.write_bytes(forge(content))
    other, _ = make_trainer(tmp_path, epochs=1, stride=2000)
    other.resume(path)
    adamw = torch.optim.Optimizer.state_dict(other._train_step._optimizers._members["adamw"][0])
    assert all(state["exp_avg"].is_contiguous() for state in adamw["state"].values())
    assert all(float(state["exp_avg"].max()) == 0.5 for state in adamw["state"].values())
    assert adamw["param_groups"][0]["weight_decay"] == resolve("fast", {}).weight_decay


def test_another_precision_is_noted(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=1, stride=2000)
    trainer.run(NO_LIMITS)
    content = checkpoint.load(tmp_path / checkpoint.LAST_FILE)
    content["config"]["summary"]["precision"] = "bf16"
    checkpoint.save(tmp_path / checkpoint.LAST_FILE, content)
    other, reporter = make_trainer(tmp_path, epochs=1, stride=2000)
    other.resume(tmp_path / checkpoint.LAST_FILE)
    assert "model: precision changes from bf16 to fp32" in reporter.notes


def test_resume_needs_the_optimizer(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=1, stride=2000)
    trainer.run(NO_LIMITS)
    with pytest.raises(CheckpointError, match="cannot be resumed: it has no state, optimizer_state_dict"):
        make_trainer(tmp_path, epochs=1, stride=2000)[0].resume(tmp_path / "final_model.pt")


def test_metrics_have_the_guides_fields_after_every_epoch(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, stride=2000)
    hardware = choose_hardware("cpu", "fp32")
    config = resolve("fast", {"epochs": 2, "batch_size": 64, "stride": 2000})
    metrics = MetricsWriter(
        tmp_path, trainer.model.config, config, NO_LIMITS, hardware, {"corpus_sha256": "0"}
    )
    written: list[dict[str, Any]] = []

    def write(state: State) -> None:
        metrics.write(state)
        written.append(json.loads((tmp_path / METRICS_FILE).read_text()))

    outcome = trainer.run(NO_LIMITS, write)
    assert [value["final_metrics"]["total_epochs"] for value in written] == [1, 2]
    assert [value["status"] for value in written] == ["running", "running"]
    assert [value["end_timestamp"] for value in written] == [None, None]
    assert not metrics.is_finished()
    metrics.write(outcome.state, "finished", outcome.ended_by)
    value = json.loads((tmp_path / METRICS_FILE).read_text())
    assert (value["status"], value["ended_by"]) == ("finished", "epochs")
    assert {each["run_id"] for each in (value, *written)} == {trainer.state.run_id}
    assert value["end_timestamp"] >= value["start_timestamp"]
    names = {"vocab_size", "batch_size", "learning_rate", "num_epochs", "max_seq_length"}
    assert names <= set(value["configuration"])
    names = {"best_val_loss", "final_train_loss", "final_val_loss", "total_epochs"}
    assert names <= set(value["final_metrics"])
    assert all(set(record) >= {"epoch", "train_loss", "val_loss", "lr"} for record in value["epoch_history"])
    assert value["peak_rss_bytes"] > 50e6
    assert metrics.is_finished()
    assert not dataclasses.replace(metrics, limits=RunLimits(max_minutes=1)).is_finished()
    assert not dataclasses.replace(metrics, identity={"corpus_sha256": "1"}).is_finished()


def test_metrics_are_written_after_the_first_epoch(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path)
    hardware = choose_hardware("cpu", "fp32")
    metrics = MetricsWriter(tmp_path, trainer.model.config, resolve("fast", {}), NO_LIMITS, hardware, {})
    metrics.write(trainer.state, "stopped")
    assert not list(tmp_path.iterdir())
    assert not is_finished(tmp_path)


@pytest.mark.parametrize(("epochs", "drawn"), [(1, []), (2, [0]), (4, [0, 1, 2])])
def test_the_last_epochs_use_the_most_likely_segmentation(
    make_trainer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, epochs: int, drawn: list[int]
) -> None:
    asked: list[int] = []
    draw = subword_regularization.SegmentationSampler.sample

    def recording(self: subword_regularization.SegmentationSampler, epoch: int) -> Any:
        asked.append(epoch)
        return draw(self, epoch)

    monkeypatch.setattr(subword_regularization.SegmentationSampler, "sample", recording)
    trainer, _ = make_trainer(tmp_path, epochs=epochs, stride=64)
    trainer.run(NO_LIMITS)
    assert asked == drawn
