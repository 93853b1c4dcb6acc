"""Clock of a run: elapsed time, the speed of this process and the time left.

In: the run's state after each step. Out: seconds and tokens per second. Does not know the model or the data.
"""

import time
from typing import NamedTuple, Self

from tinyedge.train.state import State


class _Moment(NamedTuple):
    """Progress within the current epoch."""

    step: int
    tokens: int
    seconds: float

    @classmethod
    def from_state(cls, state: State) -> Self:
        return cls(state.step, state.loss_tokens, state.epoch_s)


class Pace:
    """Measures one process of a run.

    A process's first step compiles and warms up, so its speed is measured from the end of that step.

    Args:
        epochs: Epochs of the complete run.
        steps_per_epoch: Optimizer steps in each epoch.
    """

    def __init__(self, epochs: int, steps_per_epoch: int) -> None:
        self._epochs = epochs
        self._steps_per_epoch = steps_per_epoch
        self._now = 0.0  # the latest reading; this and the next three are times of `time.monotonic`
        self._run_start = 0.0  # as if the run had not been interrupted
        self._epoch_start = 0.0
        self._last_save = 0.0
        self._measured_from: _Moment | None = None
        self._last_step = 0.0  # seconds of the epoch at the end of its last step
        self._steps = 0  # steps of this process whose duration was measured
        self._step_s = 0.0  # duration of a step
        self.pause_s = 0.0
        """Seconds between the last step of the previous epoch and the start of the current one."""

    def start_run(self, state: State) -> None:
        """Start the clock of a run that has already trained for `state.elapsed_s`."""
        self._last_save = time.monotonic()
        self._run_start = self._last_save - state.elapsed_s

    def start_epoch(self, state: State) -> None:
        """Start the clock of an epoch that has already trained for `state.epoch_s`."""
        self._epoch_start = time.monotonic() - state.epoch_s
        self._last_step = state.epoch_s
        if state.step == 0 and self._measured_from:
            self._measured_from = _Moment(0, 0, 0.0)

    def read_clock(self) -> tuple[float, float]:
        """Return the seconds since the start of the run and of the epoch."""
        self._now = time.monotonic()
        return self._now - self._run_start, self._now - self._epoch_start

    def record_step(self, state: State) -> None:
        """Record that this process has finished a step."""
        if self._measured_from is None:
            self._measured_from = _Moment.from_state(state)
        else:
            # The mean of the first epoch's steps, then one in which older steps fade within an epoch.
            self._steps += 1
            weight = 1 / min(self._steps, self._steps_per_epoch)
            self._step_s += weight * (state.epoch_s - self._last_step - self._step_s)
        self._last_step = state.epoch_s

    def record_save(self) -> None:
        """Record that a checkpoint was saved now."""
        self._last_save = time.monotonic()

    def record_pause(self, state: State) -> None:
        """Record the time since the last step, spent on validation and saving."""
        self.pause_s = time.monotonic() - self._run_start - state.elapsed_s

    def is_save_due(self, minutes: float | None) -> bool:
        """Whether the last save was more than `minutes` before the latest reading of the clock."""
        return bool(minutes and self._now - self._last_save > 60 * minutes)

    def tokens_per_second(self, state: State) -> float | None:
        """Return the speed within the current epoch, or None while it is unknown."""
        now, start = _Moment.from_state(state), self._measured_from
        if start is None or now.seconds <= start.seconds:
            return None
        return (now.tokens - start.tokens) / (now.seconds - start.seconds)

    def seconds_left(self, state: State, pause_s: float, max_minutes: float | None) -> float | None:
        """Estimate the rest of the run from the duration of the latest steps, of any epoch.

        Args:
            state: The run's state after its last step.
            pause_s: Seconds of validation and saving after each epoch, where none was measured yet.
            max_minutes: Time limit of the run, if it has one.

        Returns:
            Seconds, or None while the speed is unknown.
        """
        if not self._steps:
            return None
        epochs = self._epochs - state.epoch
        steps = epochs * self._steps_per_epoch - state.step
        seconds = steps * self._step_s + epochs * (self.pause_s or pause_s)
        if max_minutes is None:
            return seconds
        return min(seconds, 60 * max_minutes - state.elapsed_s)
