"""The time limit: how much is for steps, and how much is reserved for validation and saving."""

from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.train.budget import PAUSE_FACTOR, TimeBudget
from tinyedge.train.state import State

SPEED = 100 * PAUSE_FACTOR  # tokens a second
MINUTE = TimeBudget(1.0, held_out=1000)  # validation is estimated at 10 s at that speed


def make_state(elapsed_s: float, **changes: Any) -> State:
    """Return a state in its first epoch, at SPEED."""
    fields = {"step": 5, "loss_tokens": int(SPEED * elapsed_s), "epoch_s": elapsed_s, "elapsed_s": elapsed_s}
    return State(**(fields | changes))


def test_without_a_limit_the_budget_is_never_exhausted() -> None:
    budget = TimeBudget(None, held_out=1000)
    assert budget.elapsed_share(make_state(1e9)) == 0.0
    assert not budget.is_exhausted(make_state(1e9))


def test_the_first_step_is_always_run() -> None:
    assert not MINUTE.is_exhausted(State(elapsed_s=1e9))


def test_before_the_first_validation_its_time_is_estimated_from_the_speed() -> None:
    assert MINUTE.elapsed_share(make_state(25)) == pytest.approx(0.5)
    assert not MINUTE.is_exhausted(make_state(49))
    assert MINUTE.is_exhausted(make_state(50))


def test_after_it_the_longest_pause_is_reserved() -> None:
    assert MINUTE.elapsed_share(make_state(29, pause_s=2.0)) == pytest.approx(0.5)
    assert not MINUTE.is_exhausted(make_state(57, pause_s=2.0))
    assert MINUTE.is_exhausted(make_state(58, pause_s=2.0))


def test_between_epochs_there_must_be_time_for_two_validations() -> None:
    """The current one, which the elapsed time does not include yet, and the one after another epoch."""
    finished = {"epoch": 1, "step": 0, "loss_tokens": 0, "epoch_s": 0.0}
    for seen in ({"pause_s": 10.0}, {"history": [{"tokens_per_second": SPEED}]}):
        assert not MINUTE.is_exhausted(make_state(39, **finished, **seen))
        assert MINUTE.is_exhausted(make_state(40, **finished, **seen))


def test_validation_takes_at_most_half_of_the_time() -> None:
    assert not MINUTE.is_exhausted(make_state(29, pause_s=1e6))
    assert MINUTE.is_exhausted(make_state(30, pause_s=1e6))
