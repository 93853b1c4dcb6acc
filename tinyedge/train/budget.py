"""A run's time limit, and how much of it is kept for what follows the last step: judging and saving."""

from dataclasses import dataclass

from tinyedge.train.state import State

FIRST_GUESS = 1.5  # times as slow as training: judging computes the whole softmax, and then all is saved
MOST_KEPT = 0.5  # of the limit, however long judging takes: a model that was not trained needs none


@dataclass(frozen=True)
class TimeBudget:
    """A function of the state alone, so that a resumed run agrees.

    minutes: of training, judging and saving included; None is no limit. held_out: tokens that each epoch is
    judged on.
    """

    minutes: float | None
    held_out: int

    def share_over(self, state: State) -> float:
        """How much of the time for steps is over, from 0; stays 0 where there is no limit."""
        return self._share(state, state.elapsed_s)

    def is_over(self, state: State) -> bool:
        """Whether no other step fits. The first one always does."""
        if not state.epoch and not state.step:
            return False
        judging_s = 0.0 if state.step else self._kept_s(state)  # of the epoch that has just ended
        return self._share(state, state.elapsed_s + judging_s) >= 1

    def _share(self, state: State, elapsed_s: float) -> float:
        if self.minutes is None:
            return 0.0
        limit_s = 60 * self.minutes
        return elapsed_s / (limit_s - min(self._kept_s(state), MOST_KEPT * limit_s))

    def _kept_s(self, state: State) -> float:
        """The longest pause so far; before there was one, a guess from the speed of training."""
        if state.pause_s:
            return state.pause_s
        speed = state.history[-1]["tokens_per_second"] if state.history else state.tokens_per_second
        return FIRST_GUESS * self.held_out / speed if speed else 0.0
