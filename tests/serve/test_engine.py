"""The queue and its workers, without a model and without HTTP."""

import asyncio
import functools
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from tinyedge.serve.engine import MAX_UNREAD_STEPS, Engine, QueuedTask
from tinyedge.serve.errors import ApiError


def run_in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 60))

    run.__name__ = test.__name__
    return run


class ControlledWork:
    """A generator of many steps that waits for permission before each of them."""

    def __init__(self) -> None:
        self.allow_step = threading.Semaphore(0)
        self.started = threading.Event()
        self.closed = threading.Event()

    def __call__(self) -> Generator[int, None, None]:
        self.started.set()
        try:
            for number in range(1_000_000):
                self.allow_step.acquire()
                yield number
        finally:
            self.closed.set()


def count_up(first: int, count: int = 500) -> Generator[int, None, None]:
    yield from range(first, first + count)


async def read_all(task: QueuedTask[Any]) -> list[Any]:
    found = []
    while (batch := await task.next_batch()) is not None:
        found += batch
    return found


async def wait_until(condition: Callable[[], bool]) -> None:
    while not condition():
        await asyncio.sleep(0.001)


@run_in_loop
async def test_steps_arrive_in_order_and_tasks_run_one_after_the_other() -> None:
    engine = Engine(1, 10, 60)
    tasks = [engine.submit(functools.partial(count_up, n)) for n in range(5)]
    for n, task in enumerate(tasks):
        assert await read_all(task) == list(range(n, n + 500))
        assert await task.next_batch() is None  # None again after the end
    await wait_until(lambda: engine.active == 0)
    assert engine.progress == 2500
    assert await engine.close(0, 60)


@run_in_loop
async def test_a_full_queue_reports_when_to_retry() -> None:
    engine = Engine(2, 3, 60)
    work = ControlledWork()
    tasks = [engine.submit(work) for _ in range(5)]
    assert (engine.active, engine.depth) == (2, 3)
    with pytest.raises(ApiError) as full:
        engine.submit(work)
    assert (full.value.status, full.value.metric_kind) == (429, "overloaded")
    assert full.value.retry_after == engine.estimate_wait() == 2  # four tasks of a second each, two at a time
    engine.cancel(tasks[3])
    assert engine.depth == 2
    urgent = engine.submit(lambda: count_up(0, 1), urgent=True)
    assert engine.depth == 3
    engine.cancel(tasks[0])
    work.allow_step.release(2)
    assert await read_all(urgent) == [0]  # before tasks that waited longer
    closing = asyncio.ensure_future(engine.close(0, 60))
    await asyncio.sleep(0.05)
    work.allow_step.release(100)
    assert await closing


@run_in_loop
async def test_a_cancelled_task_stops_at_its_next_step() -> None:
    engine = Engine(1, 1, 60)
    work, other = ControlledWork(), ControlledWork()
    task, next_task = engine.submit(work), engine.submit(other)
    work.allow_step.release()
    assert await task.next_batch() == [0]
    engine.cancel(task)
    work.allow_step.release()  # the step in progress
    await wait_until(work.closed.is_set)
    other.allow_step.release()
    assert await next_task.next_batch() == [0]
    assert task.is_cancelled
    other.allow_step.release(10)
    assert not await engine.close(0, 0) or other.closed.is_set()


@run_in_loop
async def test_an_exception_of_the_work_is_raised_after_its_steps() -> None:
    def fail() -> Generator[int, None, None]:
        yield 1
        raise ValueError("the model broke")

    engine = Engine(1, 1, 60)
    task = engine.submit(fail)
    assert await task.next_batch() == [1]
    with pytest.raises(ValueError, match="the model broke"):
        await task.next_batch()
    assert await read_all(engine.submit(lambda: count_up(2, 1))) == [2]  # the worker continues
    assert await engine.close(0, 60)


@run_in_loop
async def test_the_time_limit_ends_running_and_waiting_tasks() -> None:
    engine = Engine(1, 1, 0.1)
    work = ControlledWork()
    task, waiting = engine.submit(work), engine.submit(work)
    with pytest.raises(ApiError) as late:
        await waiting.next_batch()
    assert (late.value.status, late.value.code) == (429, "queue_timeout")
    work.allow_step.release(1)
    assert await read_all(task) == [0]
    assert task.has_expired
    assert await engine.close(0, 60)


@run_in_loop
async def test_an_engine_that_closes_rejects_tasks() -> None:
    engine = Engine(1, 2, 60)
    work = ControlledWork()
    task, waiting = engine.submit(work), engine.submit(work)
    closing = asyncio.ensure_future(engine.close(60, 60))
    with pytest.raises(ApiError) as refused:
        await waiting.next_batch()
    assert refused.value.status == 503
    with pytest.raises(ApiError):
        engine.submit(work)
    work.allow_step.release(2)
    await wait_until(lambda: engine.progress == 2)
    assert not closing.done()  # the grace period
    engine.cancel(task)
    work.allow_step.release()
    assert await closing


@run_in_loop
async def test_a_worker_that_hangs_is_reported() -> None:
    engine = Engine(1, 1, 60)
    work = ControlledWork()
    engine.submit(work)
    await wait_until(work.started.is_set)
    assert not await engine.close(0, 0.05)
    work.allow_step.release()


@run_in_loop
async def test_unread_steps_are_bounded() -> None:
    engine = Engine(1, 1, 60)
    task = engine.submit(lambda: count_up(0, 1_000_000))
    await wait_until(lambda: engine.active == 0)  # no step is read
    batch = await task.next_batch()
    assert batch == list(range(MAX_UNREAD_STEPS + 1))
    with pytest.raises(ApiError, match="not read as fast"):
        await task.next_batch()
    collected = engine.submit(lambda: count_up(0, 3 * MAX_UNREAD_STEPS), streaming=False)
    assert await read_all(collected) == list(range(3 * MAX_UNREAD_STEPS))  # delivered at the end
    assert await engine.close(0, 60)
