"""A run's time limit, and the part of it that is reserved for validation and saving.

In: the limit and the run's state. Out: how much of the time has passed. Does not read a clock.
"""

from dataclasses import dataclass

from tinyedge.train.state import State

# Validation takes this many times as long per token as training: it computes the full softmax, and a
# checkpoint is saved after it. Used until a pause has been measured.
PAUSE_FACTOR = 1.5
MAX_RESERVED_SHARE = 0.5  # of the limit, even if validation takes longer: it is useless without training


@dataclass(frozen=True)
class TimeBudget:
    """Time for training steps. Depends only on the run's state, so a resumed run decides the same."""

    minutes: float | None
    """Time limit for training, validation and saving; None means no limit."""

    held_out: int
    """Held-out tokens that each epoch is validated on."""

    def elapsed_share(self, state: State) -> float:
        """Return the share of the time for steps that has passed; 0 without a limit."""
        return self._share(state, state.elapsed_s)

    def is_exhausted(self, state: State) -> bool:
        """Whether there is no time for another step. There is always time for the run's first step."""
        if not state.epoch and not state.step:
            return False
        # Between epochs, `elapsed_s` does not yet include the validation of the finished epoch.
        validation_s = 0.0 if state.step else self.estimate_pause_s(state)
        return self._share(state, state.elapsed_s + validation_s) >= 1

    def _share(self, state: State, elapsed_s: float) -> float:
        if self.minutes is None:
            return 0.0
        limit_s = 60 * self.minutes
        return elapsed_s / (limit_s - min(self.estimate_pause_s(state), MAX_RESERVED_SHARE * limit_s))

    def estimate_pause_s(self, state: State) -> float:
        """Return the seconds between epochs: the longest so far, or an estimate from the training speed."""
        if state.pause_s:
            return state.pause_s
        speed = state.history[-1]["tokens_per_second"] if state.history else state.tokens_per_second
        return PAUSE_FACTOR * self.held_out / speed if speed else 0.0
