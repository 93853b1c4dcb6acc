"""One queue and the threads that empty it: work that blocks, step by step, for an event loop that must not.

In: a function that makes a generator of steps. Out: those steps, as they come, in the event loop. Knows no
model and no HTTP. Between two steps a worker looks whether anybody still wants the next one.
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

LONGEST_ADVICE_S = 60  # what Retry-After says at most
FRAME_S = 1 / 60  # a screen shows no more; each wake-up takes time from the model where a token is fast
MOST_BEHIND = (
    10_000  # steps, some 3 MB, that a reader may be behind: a bound for servers of very long answers
)
MEAN_OF = 20  # finished runs that it is estimated from


class QueuedTask(Generic[Step]):
    """A request's work: waiting, then at work, then done. `batch` gives what it yields.

    expired: its time was up before it was done. Made by `Engine.submit`.
    """

    def __init__(
        self,
        make: Callable[[], Generator[Step, None, None]],
        loop: asyncio.AbstractEventLoop,
        deadline: float,
        live: bool,
    ) -> None:
        self._make = make
        self._live = live
        self._loop = loop
        self._deadline = deadline  # of time.monotonic
        self._arrived: deque[Step] = deque()
        self._news = asyncio.Event()
        self._told = False  # the loop knows that there is news, and has not looked yet
        self._done = False
        self._failure: BaseException | None = None
        self._unwanted = False
        self.expired = False

    @property
    def cut_short(self) -> bool:
        """Whether it ended because it was cancelled."""
        return self._unwanted

    async def batch(self) -> list[Step] | None:
        """What was yielded since the last look, in order; None at the end. Raises what the work raised."""
        while True:
            done = self._done  # read first: what arrives after it is looked for once more
            batch = []
            while self._arrived:
                batch.append(self._arrived.popleft())
            if batch:
                return batch
            if done:
                if self._failure is not None:
                    raise self._failure
                return None
            await self._news.wait()
            self._news.clear()

    def cancel(self) -> None:
        """Nobody wants the rest: the worker stops before its next step."""
        self._unwanted = True

    def fail(self, failure: BaseException) -> None:
        """Ends a run that no worker has taken."""
        self._end(failure)
        self._tell()

    def work(self, beat: Callable[[], None]) -> None:
        """All of it, in a worker's thread; `beat` is called after each step."""
        failure: BaseException | None = None
        tell_at = 0.0
        try:
            with contextlib.closing(self._make()) as steps:
                while not self._unwanted:
                    if time.monotonic() > self._deadline:
                        self.expired = True
                        break
                    step = next(steps, None)
                    if step is None:
                        break
                    self._arrived.append(step)
                    now = time.monotonic()
                    if self._live and now >= tell_at:
                        tell_at = now + FRAME_S
                        self._tell()
                    beat()
                    if self._live and len(self._arrived) > MOST_BEHIND:
                        raise ApiError(
                            408, "the answer was not read as fast as it was written", code="timeout"
                        )
        except Exception as caught:
            failure = caught
        self._end(failure)
        self._tell()

    def _end(self, failure: BaseException | None) -> None:
        self._failure = failure
        self._done = True

    def _tell(self) -> None:
        if not self._told:  # several steps may share one wake-up
            self._told = True
            with contextlib.suppress(RuntimeError):  # the loop is gone
                self._loop.call_soon_threadsafe(self._wake)

    def _wake(self) -> None:
        self._told = False
        self._news.set()


class Engine:
    """A bounded queue before a few workers. Everything but the work itself happens in the event loop.

    workers: runs at the same time. places: runs that may wait. seconds: each one's time, waiting included.
    """

    def __init__(self, workers: int, places: int, seconds: float) -> None:
        self.workers = workers
        self._places = places
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        # In order, each with the end of its time: a timer keeps all that its run holds, so it goes with it.
        self._waiting: OrderedDict[QueuedTask[Any], asyncio.TimerHandle] = OrderedDict()
        self._active: set[QueuedTask[Any]] = set()
        self._handed: queue.SimpleQueue[QueuedTask[Any] | None] = queue.SimpleQueue()
        self._lasted: deque[float] = deque(maxlen=MEAN_OF)
        self._closing = False
        self.progress = 0  # steps so far: as long as it grows, the workers live
        # Daemons: a worker that is stuck in native code must not keep the process from ending.
        self._threads = [
            threading.Thread(target=self._work, name=f"worker-{index}", daemon=True)
            for index in range(workers)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def depth(self) -> int:
        """Runs that wait."""
        return len(self._waiting)

    @property
    def active(self) -> int:
        """Runs at work."""
        return len(self._active)

    def submit(
        self, make: Callable[[], Generator[Step, None, None]], *, live: bool = True, urgent: bool = False
    ) -> QueuedTask[Step]:
        """Puts work at the queue's end; an urgent one at its front, full or not. Of a live one, the first
        step is there at once and the others within FRAME_S or a step; of another, all are there at its end.

        Raises ApiError where the queue is full (429) or the server ends (503).
        """
        if self._closing:
            raise ending()
        if not urgent and len(self._waiting) >= self._places and len(self._active) >= self.workers:
            raise ApiError(
                429,
                f"{self.active} requests are at work and {self.depth} wait: try again later",
                code="queue_full",
                retry_after=self.advice(),
            )
        run = QueuedTask(make, self._loop, time.monotonic() + self._seconds, live)
        self._waiting[run] = self._loop.call_later(self._seconds, self._overdue, run)
        if urgent:
            self._waiting.move_to_end(run, last=False)
        self._hand_over()
        return run

    def cancel(self, run: QueuedTask[Any]) -> None:
        """Gives up on a run: its place is free at once, a worker's at its next step."""
        run.cancel()
        self._forget(run)

    def advice(self) -> int:
        """Seconds after which a place may be free, for Retry-After."""
        mean = sum(self._lasted) / len(self._lasted) if self._lasted else 1.0
        return min(LONGEST_ADVICE_S, max(1, math.ceil(mean * (self.depth + 1) / self.workers)))

    async def close(self, grace: float, limit: float) -> bool:
        """Takes no more; lets what is at work go on for `grace` seconds. Whether all ended in `limit`."""
        self._closing = True
        for run in list(self._waiting):
            self._forget(run)
            run.fail(ending())
        until = time.monotonic() + limit
        await self._idle(time.monotonic() + grace)
        for run in self._active:
            run.cancel()
        await self._idle(until)
        for _ in self._threads:
            self._handed.put(None)
        for thread in self._threads:
            thread.join(max(0.0, until - time.monotonic()))
        return not any(thread.is_alive() for thread in self._threads)

    async def _idle(self, until: float) -> None:
        while self._active and time.monotonic() < until:
            await asyncio.sleep(0.02)

    def _hand_over(self) -> None:
        while self._waiting and len(self._active) < self.workers:
            run = next(iter(self._waiting))
            self._forget(run)
            self._active.add(run)
            self._handed.put(run)

    def _forget(self, run: QueuedTask[Any]) -> None:
        """It waits no more."""
        timer = self._waiting.pop(run, None)
        if timer is not None:
            timer.cancel()

    def _overdue(self, run: QueuedTask[Any]) -> None:
        self._forget(run)
        run.fail(
            ApiError(
                429,
                f"it waited {self._seconds:g} s for its turn: try again later",
                code="queue_timeout",
                retry_after=self.advice(),
            )
        )

    def _work(self) -> None:
        """A worker's life."""
        while (run := self._handed.get()) is not None:
            began = time.monotonic()
            run.work(self._beat)
            lasted = time.monotonic() - began
            with contextlib.suppress(RuntimeError):  # the loop is gone
                self._loop.call_soon_threadsafe(self._finished, run, lasted)
            del run  # or it would live until the next one comes

    def _beat(self) -> None:
        self.progress += 1

    def _finished(self, run: QueuedTask[Any], lasted: float) -> None:
        self._active.discard(run)
        self._lasted.append(lasted)
        self._hand_over()


def ending() -> ApiError:
    """What to raise when the server is about to end."""
    return ApiError(503, "the server is shutting down", code="shutting_down", retry_after=5)
