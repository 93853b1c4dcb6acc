"""`train --budget` trains the largest shape that text and time are enough for, and a run keeps its shape."""

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from tests.support.phrases import write_phrases
from tests.support.recording_reporter import RecordingReporter

pytest.importorskip("torch", reason="training needs the extra `train`")

from tests.train.test_pipeline import make_request
from tinyedge.core.config import ModelConfig
from tinyedge.core.run_files import read_metrics
from tinyedge.text.shards import Shards
from tinyedge.text.tokenizer import Tokenizer
from tinyedge.train import pipeline, single_run
from tinyedge.train.distributed import SINGLE_PROCESS
from tinyedge.train.limits import RunLimits
from tinyedge.train.report.curve import draw_curve
from tinyedge.train.run_request import RunRequest
from tinyedge.train.shape_choice import STEPS_SHARE, TOKENS_PER_WEIGHT, choose_shape
from tinyedge.train.trainer import Trainer

SMALLEST, MIDDLE, LARGEST = (
    ModelConfig(1000, 64, 2, layers, feedforward, 32)
    for layers, feedforward in ((1, 128), (2, 128), (4, 256))
)


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_phrases(tmp_path_factory.mktemp("text") / "mine.txt", 0, 200)


@pytest.fixture
def request_for(text: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(single_run, draw_curve.__name__, lambda run, path: path.write_bytes(b"drawn"))

    def make(**changes: Any) -> RunRequest:
        shapes = [dataclasses.replace(one, vocab_size=1000) for one in (SMALLEST, MIDDLE, LARGEST)]
        request = make_request(tmp_path / "run", text, **{"list_shapes": lambda size: shapes, **changes})
        return dataclasses.replace(request, flexible=frozenset({"vocab_size"}))

    return make


@pytest.fixture
def prepared(request_for: Any) -> tuple[Tokenizer, Shards]:
    return pipeline.prepare_data(request_for(), RecordingReporter())


def choose(request: RunRequest, prepared: tuple[Tokenizer, Shards]) -> ModelConfig:
    tokenizer, shards = prepared
    return choose_shape(request, tokenizer, shards, RecordingReporter())


def with_epochs(request: RunRequest, epochs: int) -> RunRequest:
    return dataclasses.replace(request, training=dataclasses.replace(request.training, epochs=epochs))


def test_without_a_choice_the_shape_is_the_users(request_for: Any, prepared: Any) -> None:
    request = request_for(list_shapes=None, model=MIDDLE)
    assert choose(request, prepared) == MIDDLE


@pytest.mark.parametrize("shape", [SMALLEST, MIDDLE, LARGEST])
def test_the_tokens_of_all_epochs_decide(shape: ModelConfig, request_for: Any, prepared: Any) -> None:
    epochs = -(-TOKENS_PER_WEIGHT * shape.block_parameters // prepared[1].train_tokens)
    assert choose(with_epochs(request_for(), epochs), prepared) == shape
    if shape is not SMALLEST:
        fewer = choose(with_epochs(request_for(), epochs - 1), prepared)
        assert fewer.block_parameters < shape.block_parameters


def test_the_smallest_is_trained_if_the_text_is_too_short_for_all(request_for: Any, prepared: Any) -> None:
    assert choose(with_epochs(request_for(), 1), prepared) == SMALLEST


def test_with_a_time_limit_the_speed_of_each_shape_decides(
    request_for: Any, prepared: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    speeds = {SMALLEST: 9000.0, MIDDLE: 6000.0, LARGEST: 3000.0}
    monkeypatch.setattr(Trainer, "measure_speed", lambda self, steps: speeds[self.model.config])

    def choose_in(minutes: float) -> ModelConfig:
        request = with_epochs(request_for(limits=RunLimits(max_minutes=minutes)), 10_000)
        return choose(request, prepared)

    for shape in (MIDDLE, LARGEST):
        needed = TOKENS_PER_WEIGHT * shape.block_parameters / (60 * STEPS_SHARE * speeds[shape])
        assert choose_in(1.01 * needed) == shape
        assert choose_in(0.99 * needed).block_parameters < shape.block_parameters


def test_the_speed_is_measured_with_steps_of_the_text(request_for: Any, prepared: Any) -> None:
    request = request_for().with_shape(SMALLEST)
    trainer = request.make_trainer(*prepared, RecordingReporter(), SINGLE_PROCESS)
    before = {name: value.clone() for name, value in trainer.model.named_parameters()}
    assert trainer.measure_speed(2) > 0
    assert any(not before[name].equal(value) for name, value in trainer.model.named_parameters())


def test_measuring_does_not_change_the_run(
    request_for: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tinyedge.train.shape_choice.TOKENS_PER_WEIGHT", 0)
    limits = RunLimits(max_minutes=500)  # a schedule that the clock does not shorten
    measured = pipeline.run(with_epochs(request_for(limits=limits), 1), RecordingReporter())
    plain = request_for(model=LARGEST, list_shapes=None, output_dir=tmp_path / "other")
    outcome = pipeline.run(with_epochs(plain, 1), RecordingReporter())
    assert measured is not None
    assert outcome is not None
    assert measured.state.history[0]["model_id"] == outcome.state.history[0]["model_id"]


def test_a_repeated_run_keeps_its_shape_at_another_speed(
    request_for: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    request = with_epochs(request_for(limits=RunLimits(max_minutes=500)), 1)
    monkeypatch.setattr(Trainer, "measure_speed", lambda self, steps: 0.0)
    assert pipeline.run(request, RecordingReporter()) is not None
    monkeypatch.setattr(Trainer, "measure_speed", lambda self, steps: 1e9)
    monkeypatch.setattr("tinyedge.train.shape_choice.TOKENS_PER_WEIGHT", 0)
    reporter = RecordingReporter()
    assert pipeline.run(request, reporter) is None  # reused
    other = dataclasses.replace(request, limits=RunLimits(max_minutes=400), restart=True)
    assert pipeline.run(other, RecordingReporter()) is not None
    configuration = read_metrics(request.output_dir)["configuration"]
    assert isinstance(configuration, dict)
    assert configuration["model"] == LARGEST.to_dict()


def test_a_resumed_run_keeps_its_shape(request_for: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    request = with_epochs(request_for(), 2)
    shape = choose(request, pipeline.prepare_data(request, RecordingReporter()))

    def stop(self: Trainer) -> str | None:
        if self.state.epoch == 1:
            self._signals.last = 15
            self._synchronize(self.state.elapsed_s, 0.0)
        return None

    monkeypatch.setattr(Trainer, "_stop_reason", stop)
    stopped = pipeline.run(request, RecordingReporter())
    assert stopped is not None
    assert stopped.signal is not None
    monkeypatch.undo()
    monkeypatch.setattr(single_run, draw_curve.__name__, lambda run, path: path.write_bytes(b"drawn"))
    monkeypatch.setattr("tinyedge.train.shape_choice.TOKENS_PER_WEIGHT", 0)
    (request.output_dir / "checkpoint_epoch_5.pt").write_bytes(b"damaged")
    reporter = RecordingReporter()
    outcome = pipeline.run(dataclasses.replace(request, resume=True), reporter)
    assert sum("is skipped" in note for note in reporter.notes) == 1
    assert outcome is not None
    assert outcome.ended_by == "epochs"
    assert shape == SMALLEST
