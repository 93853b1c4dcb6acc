"""The loop: it learns, it repeats itself bit for bit, and a stopped run loses nothing."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.errors import CheckpointError, UsageError  # noqa: E402
from tinyedge.shards import Shards  # noqa: E402
from tinyedge.train import checkpoint, metrics  # noqa: E402
from tinyedge.train.trainer import Limits, Progress, Trainer  # noqa: E402

Make = Callable[..., tuple[Trainer, "object"]]
NO_LIMITS = Limits()


def weights(trainer: Trainer) -> bytes:
    return b"".join(value.numpy().tobytes() for value in trainer.model.state_dict().values())


@pytest.mark.parametrize("recipe", ["fast", "guide"])
def test_learns_and_leaves_the_guides_files(make_trainer: Make, tmp_path: Path, recipe: str) -> None:
    trainer, reporter = make_trainer(tmp_path, recipe, epochs=5, learning_rate=3e-3)
    outcome = trainer.run(NO_LIMITS)
    first, last = reporter.records[0], reporter.records[-1]  # type: ignore[attr-defined]
    assert last.val_loss < first.val_loss < 6.9  # ln(1000) = 6.91
    assert set(last.val_bits_per_byte) == {"all", "en", "es"}
    assert {p.name for p in tmp_path.iterdir()} == {
        "best_model.pt",
        "checkpoint_epoch_5.pt",
        "final_model.pt",
    }
    full = torch.load(tmp_path / "checkpoint_epoch_5.pt", weights_only=True)
    guide = {"epoch", "model_state_dict", "optimizer_state_dict", "train_loss", "val_loss", "config"}
    assert guide <= set(full)
    assert full["epoch"] == 5
    final = torch.load(tmp_path / "final_model.pt", weights_only=True)
    assert "optimizer_state_dict" not in final
    assert len(outcome.state.samples) == 2  # one a prompt, at epoch 5
    assert outcome.signal is None


def test_same_seed_same_weights_other_seed_others(make_trainer: Make, tmp_path: Path) -> None:
    results = []
    for number, seed in enumerate((1, 1, 2)):
        folder = tmp_path / str(number)
        folder.mkdir()
        trainer, _ = make_trainer(folder, seed=seed, epochs=1)
        trainer.run(NO_LIMITS)
        results.append(weights(trainer))
    assert results[0] == results[1] != results[2]


@pytest.mark.parametrize("recipe", ["fast", "guide"])
def test_interrupted_and_resumed_equals_uninterrupted(
    make_trainer: Make, tmp_path: Path, recipe: str
) -> None:
    whole = tmp_path / "whole"
    parts = tmp_path / "parts"
    whole.mkdir(), parts.mkdir()
    reference, _ = make_trainer(whole, recipe)
    reference.run(NO_LIMITS)
    stops = iter([(3, signal.SIGINT), (20, signal.SIGTERM)])
    for _ in range(2):
        step, number = next(stops)
        trainer, reporter = make_trainer(parts, recipe)
        if checkpoint.resumable(parts):
            trainer.resume(checkpoint.resumable(parts)[0])

        def stop(progress: Progress, step: int = step, number: int = number) -> None:
            if progress.step == step:
                os.kill(os.getpid(), number)

        reporter.on_step = stop  # type: ignore[attr-defined]
        outcome = trainer.run(NO_LIMITS)
        assert outcome.signal == number
        assert not (parts / "final_model.pt").exists()
    torch.manual_seed(99)  # what happens in between must not matter
    trainer, _ = make_trainer(parts, recipe)
    trainer.resume(parts / checkpoint.LAST_FILE)
    trainer.run(NO_LIMITS)
    assert weights(trainer) == weights(reference)
    volatile = {"tokens_per_second", "elapsed_s"}
    histories = [
        [{k: v for k, v in record.items() if k not in volatile} for record in t.state.history]
        for t in (trainer, reference)
    ]
    assert histories[0] == histories[1]


def test_signal_handlers_are_put_back(make_trainer: Make, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    make_trainer(tmp_path, epochs=1)[0].run(NO_LIMITS)
    assert signal.getsignal(signal.SIGINT) is before


def test_max_minutes_still_gives_a_model(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=500)
    outcome = trainer.run(Limits(max_minutes=1e-6))
    assert outcome.timed_out
    assert checkpoint.load_model(tmp_path / "final_model.pt").training["epochs"] == 1


def test_checkpoint_minutes_saves_in_between(make_trainer: Make, tmp_path: Path) -> None:
    trainer, reporter = make_trainer(tmp_path, epochs=1)
    seen: list[bool] = []
    reporter.on_step = lambda p: seen.append((tmp_path / checkpoint.LAST_FILE).exists())  # type: ignore
    trainer.run(Limits(checkpoint_minutes=1e-9))
    assert seen[:3] == [False, True, True]


@pytest.mark.parametrize(
    ("flags", "words"), [({"epochs": 3}, "epochs 2 there, 3 here"), ({"seed": 7}, "seed 0 there, 7 here")]
)
def test_resume_refuses_another_run(
    make_trainer: Make, tmp_path: Path, flags: dict[str, int], words: str
) -> None:
    trainer, _ = make_trainer(tmp_path)
    trainer.run(NO_LIMITS)
    other, _ = make_trainer(tmp_path, **flags)
    with pytest.raises(UsageError, match=words):
        other.resume(tmp_path / "best_model.pt")


def test_resume_needs_the_optimizer(make_trainer: Make, tmp_path: Path) -> None:
    trainer, _ = make_trainer(tmp_path, epochs=1)
    trainer.run(NO_LIMITS)
    with pytest.raises(CheckpointError, match="cannot be resumed"):
        make_trainer(tmp_path, epochs=1)[0].resume(tmp_path / "final_model.pt")


def test_metrics_have_the_guides_fields(make_trainer: Make, tmp_path: Path, shards: Shards) -> None:
    import datetime

    from tinyedge.train.hardware import choose_hardware
    from tinyedge.train.recipe import resolve

    trainer, _ = make_trainer(tmp_path)
    outcome = trainer.run(NO_LIMITS)
    config = resolve("fast", {"epochs": 2, "batch_size": 64})
    now = datetime.datetime.now(datetime.UTC)
    hardware = choose_hardware("cpu", "fp32")
    metrics.write_metrics(tmp_path, trainer.model.config, config, outcome, hardware, now, {})
    metrics.draw_curve(tmp_path, outcome.state.history)
    value = json.loads((tmp_path / metrics.METRICS_FILE).read_text())
    assert {"run_id", "start_timestamp", "end_timestamp"} <= set(value)
    names = {"vocab_size", "batch_size", "learning_rate", "num_epochs", "max_seq_length"}
    assert names <= set(value["configuration"])
    names = {"best_val_loss", "final_train_loss", "final_val_loss", "total_epochs"}
    assert names <= set(value["final_metrics"])
    assert [set(record) >= {"epoch", "train_loss", "val_loss", "lr"} for record in value["epoch_history"]]
    assert value["peak_rss_bytes"] > 50e6
    assert (tmp_path / metrics.CURVE_FILE).read_bytes().startswith(b"\x89PNG")
