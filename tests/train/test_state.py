"""The state of a run: counting, history, and validation of a checkpoint's state."""

from typing import Any

import pytest

from tinyedge.train.state import EpochRecord, State

RECORD = EpochRecord(
    epoch=1,
    train_loss=5.0,
    val_loss=5.5,
    lr=1e-3,
    val_bits_per_byte={"all": 2.0},
    tokens_per_second=1000.0,
    elapsed_s=1.0,
    tokens=10,
)


def make_state() -> State:
    state = State()
    state.record_step(5.0, 10, 1e-3)
    state.add_trace_point()
    state.finish_epoch(RECORD)
    state.record_step(4.0, 10, 1e-3)
    state.samples.append({"epoch": 1, "prompt": "Hello", "text": "Hello you"})
    state.advised.append("slowed")
    return state


def test_the_state_survives_a_round_trip() -> None:
    state = make_state()
    assert State.from_dict(state.to_dict()) == state
    assert (state.epoch, state.step, state.tokens, state.loss) == (1, 1, 20, 4.0)


def test_every_run_keeps_its_identifier() -> None:
    first, second = State(), State()
    assert first.run_id != second.run_id
    assert State.from_dict(first.to_dict()).run_id == first.run_id


def test_the_best_epoch_is_the_first_of_several_equal_ones() -> None:
    state = State()
    assert (state.best, state.epochs_since_best) == (None, 0)
    for epoch, loss in enumerate((5.0, 4.0, 4.0, 4.5), 1):
        state.finish_epoch(EpochRecord(epoch, 5.0, loss, 1e-3, {"all": 2.0}, 1.0, 1.0, 10))
    assert state.best is not None
    assert (state.best["epoch"], state.epochs_since_best) == (2, 2)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -1},
        {"epoch": 2},
        {"epoch": 1.0},
        {"epoch": True},
        {"step": -1},
        {"step": "3"},
        {"step": 1 << 80},
        {"tokens": None},
        {"loss_tokens": -5},
        {"loss_sum": float("nan")},
        {"elapsed_s": float("inf")},
        {"elapsed_s": -1.0},
        {"epoch_s": [1.0]},
        {"lr": "0.1"},
        {"history": {}},
        {"history": []},
        {"history": [{}]},
        {"history": [{**make_state().history[0], "val_loss": float("nan")}]},
        {"history": [{**make_state().history[0], "val_bits_per_byte": {"all": "2"}}]},
        {"history": [{**make_state().history[0], "epoch": 2}]},
        {"trace": [{"tokens": 1}]},
        {"samples": [{"epoch": 1, "prompt": "Hello", "text": 3}]},
        {"samples": None},
        {"advised": [1]},
        {"run_id": 5},
        {"start_timestamp": None},
        {"evil": 1},
    ],
    ids=str,
)
def test_an_invalid_state_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"its (state|history)"):
        State.from_dict({**make_state().to_dict(), **change})


@pytest.mark.parametrize("value", [None, [], "state", {}, {"epoch": 0}])
def test_a_value_that_is_not_a_state_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match="its state has other fields"):
        State.from_dict(value)
