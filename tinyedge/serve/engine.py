"""A queue of tasks and the worker threads that run them: blocking work, step by step, for an event loop.

In: a function that creates a generator of steps. Out: these steps, in the event loop, as they are computed.
Does not know the model or HTTP. Between two steps, a worker checks whether the task was cancelled.
"""

import asyncio
import contextlib
import math
import queue
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable, Generator
from typing import Any, Generic, TypeVar

from tinyedge.serve.errors import ApiError

Step = TypeVar("Step")

MAX_RETRY_AFTER_S = 60
FRAME_S = 1 / 60  # a screen shows no more; each wake-up of the loop takes time from a fast model
MAX_UNREAD_STEPS = 10_000  # about 3 MB: the bound for a slow reader of a very long answer
MEAN_DURATION_TASKS = 20  # finished tasks whose mean duration estimates the waiting time


class QueuedTask(Generic[Step]):
    """The work of one request: waiting, running, or done. Created by `Engine.submit`."""

    has_expired: bool
    """Whether the time limit ended the task before its last step."""
    is_streaming: bool
    """Whether steps are delivered before the last one."""

    def __init__(
        self,
        make_steps: Callable[[], Generator[Step, None, None]],
        loop: asyncio.AbstractEventLoop,
        deadline: float,
        streaming: bool,
    ) -> None:
        self._make_steps: Callable[[], Generator[Step, None, None]] | None = make_steps
        self.is_streaming = streaming
        self._loop = loop
        self._deadline = deadline  # of time.monotonic
        self._steps: deque[Step] = deque()  # computed, but not yet read
        self._wakeup = asyncio.Event()
        self._wakeup_pending = False  # a wake-up is scheduled in the loop and has not run yet
        self._done = False
        self._failure: BaseException | None = None
        self._cancelled = False
        self.has_expired = False

    @property
    def is_cancelled(self) -> bool:
        """Whether the task was cancelled."""
        return self._cancelled

    async def next_batch(self) -> list[Step] | None:
        """Wait for new steps.

        Returns:
            The steps since the previous call, in order; None at the end.

        Raises:
            Exception: What the work raised, after all of its steps.
        """
        while True:
            done = self._done  # read first: steps that arrive after it are found in the next iteration
            batch = []
            while self._steps:
                batch.append(self._steps.popleft())
            if batch:
                return batch
            if done:
                if self._failure is not None:
                    raise self._failure
                return None
            await self._wakeup.wait()
            self._wakeup.clear()

    def cancel(self) -> None:
        """Cancel the task: the worker stops before its next step."""
        self._cancelled = True

    def fail(self, failure: BaseException) -> None:
        """End a task that no worker has started."""
        self._end(failure)
        self._notify()

    def run(self, on_step: Callable[[], None]) -> None:
        """Do all the work, in a worker thread, and call `on_step` after each step."""
        failure: BaseException | None = None
        notify_at = 0.0
        try:
            assert self._make_steps is not None
            with contextlib.closing(self._make_steps()) as steps:
                while not self._cancelled:
                    if time.monotonic() > self._deadline:
                        self.has_expired = True
                        break
                    step = next(steps, None)
                    if step is None:
                        break
                    self._steps.append(step)
                    now = time.monotonic()
                    if self.is_streaming and now >= notify_at:
                        notify_at = now + FRAME_S
                        self._notify()
                    on_step()
                    if self.is_streaming and len(self._steps) > MAX_UNREAD_STEPS:
                        raise ApiError(
                            408, "the answer was not read as fast as it was generated", code="timeout"
                        )
        except Exception as caught:
            failure = caught
        self._end(failure)
        self._notify()

    def _end(self, failure: BaseException | None) -> None:
        self._make_steps = None  # it keeps the model, and a slow reader keeps the task
        self._failure = failure
        self._done = True

    def _notify(self) -> None:
        if not self._wakeup_pending:  # several steps can share one wake-up
            self._wakeup_pending = True
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._wake_reader)

    def _wake_reader(self) -> None:
        self._wakeup_pending = False
        self._wakeup.set()


class Engine:
    """A bounded queue and a few worker threads. Everything except the work itself runs in the event loop."""

    progress: int
    """Number of steps computed so far; as long as it grows, the workers are alive."""

    def __init__(self, workers: int, queue_size: int, max_seconds: float) -> None:
        """Start the workers.

        Args:
            workers: Number of tasks that run at the same time.
            queue_size: Number of tasks that may wait.
            max_seconds: Time limit of a task, waiting included.
        """
        self.workers = workers
        self._queue_size = queue_size
        self._max_seconds = max_seconds
        self._loop = asyncio.get_running_loop()
        # In order. Each task has a timer, which keeps the task alive, so both are removed together.
        self._waiting: OrderedDict[QueuedTask[Any], asyncio.TimerHandle] = OrderedDict()
        self._active: set[QueuedTask[Any]] = set()
        self._assigned: queue.SimpleQueue[QueuedTask[Any] | None] = queue.SimpleQueue()
        self._durations: deque[float] = deque(maxlen=MEAN_DURATION_TASKS)
        self._closing = False
        self.progress = 0
        # Daemon threads: a worker that hangs in native code must not keep the process from exiting.
        self._threads = [
            threading.Thread(target=self._run_worker, name=f"worker-{index}", daemon=True)
            for index in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Number of waiting tasks."""
        return len(self._waiting)

    @property
    def active(self) -> int:
        """Number of running tasks."""
        return len(self._active)

    def submit(
        self,
        make_steps: Callable[[], Generator[Step, None, None]],
        *,
        streaming: bool = True,
        urgent: bool = False,
    ) -> QueuedTask[Step]:
        """Add a task to the queue.

        Args:
            make_steps: Creates the generator that does the work; called in a worker thread.
            streaming: Whether the first step is delivered at once and later ones within FRAME_S or a step;
                otherwise all steps are delivered at the end.
            urgent: Whether the task goes to the front of the queue, even if the queue is full.

        Raises:
            ApiError: The queue is full (429), or the server is shutting down (503).
        """
        if self._closing:
            raise make_shutdown_error()
        if not urgent and len(self._waiting) >= self._queue_size and len(self._active) >= self.workers:
            raise ApiError(
                429,
                f"{self.active} requests are running and {self.depth} are waiting: try again later",
                code="queue_full",
                retry_after=self.estimate_wait(),
            )
        task = QueuedTask(make_steps, self._loop, time.monotonic() + self._max_seconds, streaming)
        self._waiting[task] = self._loop.call_later(self._max_seconds, self._expire, task)
        if urgent:
            self._waiting.move_to_end(task, last=False)
        self._assign_waiting()
        return task

    def cancel(self, task: QueuedTask[Any]) -> None:
        """Cancel a task: its place in the queue is free at once, its worker at the next step."""
        task.cancel()
        self._remove_waiting(task)

    def estimate_wait(self) -> int:
        """Estimate the seconds until a place is free, for Retry-After."""
        mean = sum(self._durations) / len(self._durations) if self._durations else 1.0
        return min(MAX_RETRY_AFTER_S, max(1, math.ceil(mean * (self.depth + 1) / self.workers)))

    async def close(self, grace: float, limit: float) -> bool:
        """Reject new and waiting tasks, and end the running ones.

        Args:
            grace: Seconds for which running tasks continue before they are cancelled.
            limit: Seconds after which the workers must have stopped.

        Returns:
            Whether all workers stopped in time.
        """
        self._closing = True
        for task in list(self._waiting):
            self._remove_waiting(task)
            task.fail(make_shutdown_error())
        until = time.monotonic() + limit
        await self._wait_until_idle(time.monotonic() + grace)
        for task in self._active:
            task.cancel()
        await self._wait_until_idle(until)
        for _ in self._threads:
            self._assigned.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    async def _wait_until_idle(self, until: float) -> None:
        while self._active and time.monotonic() < until:
            await asyncio.sleep(0.02)

    def _assign_waiting(self) -> None:
        while self._waiting and len(self._active) < self.workers:
            task = next(iter(self._waiting))
            self._remove_waiting(task)
            self._active.add(task)
            self._assigned.put(task)

    def _remove_waiting(self, task: QueuedTask[Any]) -> None:
        timer = self._waiting.pop(task, None)
        if timer is not None:
            timer.cancel()

    def _expire(self, task: QueuedTask[Any]) -> None:
        self._remove_waiting(task)
        task.fail(
            ApiError(
                429,
                f"the request waited {self._max_seconds:g} s for its turn: try again later",
                code="queue_timeout",
                retry_after=self.estimate_wait(),
            )
        )

    def _run_worker(self) -> None:
        """Run assigned tasks until None is assigned."""
        while (task := self._assigned.get()) is not None:
            started = time.monotonic()
            task.run(self._count_step)
            duration = time.monotonic() - started
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._loop.call_soon_threadsafe(self._finish, task, duration)
            del task  # otherwise it would be kept alive until the next one

    def _count_step(self) -> None:
        self.progress += 1

    def _finish(self, task: QueuedTask[Any], duration: float) -> None:
        self._active.discard(task)
        self._durations.append(duration)
        self._assign_waiting()


def make_shutdown_error() -> ApiError:
    """Create the error for requests during shutdown."""
    return ApiError(503, "the server is shutting down", code="shutting_down", retry_after=5)
