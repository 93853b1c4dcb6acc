"""Event files, read with TensorBoard's own reader."""

import os
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")
pytest.importorskip("tensorboard", reason="event files need the extra `tensorboard`")

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from tinyedge.core.errors import UsageError
from tinyedge.train.report.reporter import Progress
from tinyedge.train.report.tensorboard import TensorBoard
from tinyedge.train.state import EpochRecord

TOKENS = 100  # per step


def make_progress(step: int) -> Progress:
    return Progress(1, 2, step, 100, 9.0 - step / 10, None, TOKENS * step, 1e-5 * step, 2.0, 9000.0, 1.0)


def make_record(step: int) -> EpochRecord:
    return EpochRecord(1, 5.0, 4.5, 1e-3, {"all": 2.0, "en": 1.9, "es": 2.1}, 9000.0, 1.0, TOKENS * step)


def read_scalars(folder: Path, name: str) -> list[tuple[int, Any]]:
    reader = EventAccumulator(str(folder / "tensorboard"))
    reader.Reload()
    return [(event.step, pytest.approx(event.value)) for event in reader.Scalars(name)]


def test_events_are_written_and_passed_on(tmp_path: Path, reporter: Any) -> None:
    with TensorBoard(tmp_path, reporter) as listener:
        for step in range(1, 21):
            listener.step(make_progress(step))
        listener.epoch(make_record(20))
        listener.sample("Hola", "Hola mundo")
        listener.note("a note")
    assert read_scalars(tmp_path, "loss/training") == [(1000, 8.0), (2000, 7.0), (2000, 5.0)]
    assert read_scalars(tmp_path, "learning_rate") == [(1000, 1e-4), (2000, 2e-4)]
    assert read_scalars(tmp_path, "tokens_per_second")[-1] == (2000, 9000.0)
    assert read_scalars(tmp_path, "loss/held_out") == [(2000, 4.5)]
    assert [read_scalars(tmp_path, f"bits_per_byte/{name}") for name in ("all", "en", "es")] == [
        [(2000, 2.0)],
        [(2000, 1.9)],
        [(2000, 2.1)],
    ]
    reader = EventAccumulator(str(tmp_path / "tensorboard"))
    reader.Reload()
    (sample,) = reader.Tensors("sample/Hola/text_summary")
    assert sample.step == 2000
    assert sample.tensor_proto.string_val == [b"Hola mundo"]
    assert [entry.epoch for entry in reporter.records] == [1]
    assert reporter.notes == ["Hola: Hola mundo", "a note"]


def test_without_events_nothing_is_written(tmp_path: Path, reporter: Any) -> None:
    with TensorBoard(tmp_path, reporter) as listener:
        listener.note("model: reused")
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_run_hides_later_events_of_the_killed_run(tmp_path: Path, reporter: Any) -> None:
    with TensorBoard(tmp_path, reporter) as killed:
        for step in range(1, 41):
            killed.step(make_progress(step))
    with TensorBoard(tmp_path, reporter) as resumed:  # from a checkpoint after step 20
        for step in range(21, 61):
            resumed.step(make_progress(step))
    assert [step for step, _ in read_scalars(tmp_path, "learning_rate")] == [
        1000,
        2000,
        3000,
        4000,
        5000,
        6000,
    ]


def test_a_folder_whose_name_is_not_utf_8_is_refused_before_training(tmp_path: Path, reporter: Any) -> None:
    with pytest.raises(UsageError, match="the name is not UTF-8"):
        TensorBoard(tmp_path / os.fsdecode(b"se\xf1or"), reporter)
