"""A time limit: what of it is for steps, and what is kept for judging and saving."""

from typing import Any

import pytest

pytest.importorskip("torch", reason="training needs the extra `train`")

from tinyedge.train.budget import FIRST_GUESS, TimeBudget
from tinyedge.train.state import State

SPEED = 100 * FIRST_GUESS  # tokens a second
MINUTE = TimeBudget(1.0, held_out=1000)  # judging is guessed to take 10 s at that speed


def state(elapsed_s: float, **changes: Any) -> State:
    """In its first epoch, at SPEED."""
    fields = {"step": 5, "loss_tokens": int(SPEED * elapsed_s), "epoch_s": elapsed_s, "elapsed_s": elapsed_s}
    return State(**(fields | changes))


def test_without_a_limit_nothing_is_over() -> None:
    budget = TimeBudget(None, held_out=1000)
    assert budget.share_over(state(1e9)) == 0.0
    assert not budget.is_over(state(1e9))


def test_the_first_step_is_always_taken() -> None:
    assert not MINUTE.is_over(State(elapsed_s=1e9))


def test_before_any_judging_its_time_is_guessed_from_the_speed() -> None:
    assert MINUTE.share_over(state(25)) == pytest.approx(0.5)
    assert not MINUTE.is_over(state(49))
    assert MINUTE.is_over(state(50))


def test_then_the_longest_pause_is_kept() -> None:
    assert MINUTE.share_over(state(29, pause_s=2.0)) == pytest.approx(0.5)
    assert not MINUTE.is_over(state(57, pause_s=2.0))
    assert MINUTE.is_over(state(58, pause_s=2.0))


def test_between_epochs_there_must_be_room_for_two_judgings() -> None:
    """The one under way, which the clock of the steps does not show yet, and the one after another epoch."""
    finished = {"epoch": 1, "step": 0, "loss_tokens": 0, "epoch_s": 0.0}
    for seen in ({"pause_s": 10.0}, {"history": [{"tokens_per_second": SPEED}]}):
        assert not MINUTE.is_over(state(39, **finished, **seen))
        assert MINUTE.is_over(state(40, **finished, **seen))


def test_judging_takes_half_of_the_time_at_most() -> None:
    assert not MINUTE.is_over(state(29, pause_s=1e6))
    assert MINUTE.is_over(state(30, pause_s=1e6))
