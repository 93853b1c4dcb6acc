"""The queue and its workers, without a model and without HTTP."""

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest

from tinyedge.serve.engine import MOST_BEHIND, Engine, QueuedTask
from tinyedge.serve.errors import ApiError


def in_loop(test: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], None]:
    def run() -> None:
        asyncio.run(asyncio.wait_for(test(), 60))

    run.__name__ = test.__name__
    return run


class Work:
    """An endless iterator that goes on only when it is told to."""

    def __init__(self) -> None:
        self.go = threading.Semaphore(0)
        self.begun = threading.Event()
        self.closed = threading.Event()

    def __call__(self) -> Generator[int, None, None]:
        self.begun.set()
        try:
            for number in range(1_000_000):
                self.go.acquire()
                yield number
        finally:
            self.closed.set()


def count(first: int, many: int = 500) -> Generator[int, None, None]:
    yield from range(first, first + many)


async def all_of(run: QueuedTask[Any]) -> list[Any]:
    found = []
    while (batch := await run.batch()) is not None:
        found += batch
    return found


async def until(holds: Callable[[], bool]) -> None:
    while not holds():
        await asyncio.sleep(0.001)


@in_loop
async def test_steps_come_in_order_and_one_run_after_the_other() -> None:
    engine = Engine(1, 10, 60)
    runs = [engine.submit(lambda n=n: count(n)) for n in range(5)]
    for n, run in enumerate(runs):
        assert await all_of(run) == list(range(n, n + 500))
        assert await run.batch() is None  # and stays at its end
    await until(lambda: engine.active == 0)
    assert engine.progress == 2500
    assert await engine.close(0, 60)


@in_loop
async def test_a_full_queue_says_when_to_come_again() -> None:
    engine = Engine(2, 3, 60)
    work = Work()
    runs = [engine.submit(work) for _ in range(5)]
    assert (engine.active, engine.depth) == (2, 3)
    with pytest.raises(ApiError) as full:
        engine.submit(work)
    assert (full.value.status, full.value.kind) == (429, "overloaded")
    assert full.value.retry_after == engine.advice() == 2  # four runs of a second each, two at a time
    engine.cancel(runs[3])
    assert engine.depth == 2
    urgent = engine.submit(lambda: count(0, 1), urgent=True)
    assert engine.depth == 3
    engine.cancel(runs[0])
    work.go.release(2)
    assert await all_of(urgent) == [0]  # before those that waited longer
    closing = asyncio.ensure_future(engine.close(0, 60))
    await asyncio.sleep(0.05)
    work.go.release(100)
    assert await closing


@in_loop
async def test_a_cancelled_run_stops_at_its_next_step() -> None:
    engine = Engine(1, 1, 60)
    work, other = Work(), Work()
    run, behind = engine.submit(work), engine.submit(other)
    work.go.release()
    assert await run.batch() == [0]
    engine.cancel(run)
    work.go.release()  # the step that it is in
    await until(work.closed.is_set)
    other.go.release()
    assert await behind.batch() == [0]
    assert run.cut_short
    other.go.release(10)
    assert not await engine.close(0, 0) or other.closed.is_set()


@in_loop
async def test_what_the_work_raises_is_raised_after_its_steps() -> None:
    def fail() -> Generator[int, None, None]:
        yield 1
        raise ValueError("the model broke")

    engine = Engine(1, 1, 60)
    run = engine.submit(fail)
    assert await run.batch() == [1]
    with pytest.raises(ValueError, match="the model broke"):
        await run.batch()
    assert await all_of(engine.submit(lambda: count(2, 1))) == [2]  # the worker lives on
    assert await engine.close(0, 60)


@in_loop
async def test_time_ends_what_works_and_what_waits() -> None:
    engine = Engine(1, 1, 0.1)
    work = Work()
    run, waits = engine.submit(work), engine.submit(work)
    with pytest.raises(ApiError) as late:
        await waits.batch()
    assert (late.value.status, late.value.code) == (429, "queue_timeout")
    work.go.release(1)
    assert await all_of(run) == [0]
    assert run.expired
    assert await engine.close(0, 60)


@in_loop
async def test_an_engine_that_closes_takes_nothing() -> None:
    engine = Engine(1, 2, 60)
    work = Work()
    run, waits = engine.submit(work), engine.submit(work)
    closing = asyncio.ensure_future(engine.close(60, 60))
    with pytest.raises(ApiError) as refused:
        await waits.batch()
    assert refused.value.status == 503
    with pytest.raises(ApiError):
        engine.submit(work)
    work.go.release(2)
    await until(lambda: engine.progress == 2)
    assert not closing.done()  # it is given its time
    engine.cancel(run)
    work.go.release()
    assert await closing


@in_loop
async def test_a_worker_that_hangs_is_told() -> None:
    engine = Engine(1, 1, 60)
    work = Work()
    engine.submit(work)
    await until(work.begun.is_set)
    assert not await engine.close(0, 0.05)
    work.go.release()


@in_loop
async def test_a_reader_may_be_behind_but_not_without_end() -> None:
    engine = Engine(1, 1, 60)
    run = engine.submit(lambda: count(0, 1_000_000))
    await until(lambda: engine.active == 0)  # nobody looks at what it yields
    batch = await run.batch()
    assert batch == list(range(MOST_BEHIND + 1))
    with pytest.raises(ApiError, match="not read as fast"):
        await run.batch()
    whole = engine.submit(lambda: count(0, 3 * MOST_BEHIND), live=False)
    assert await all_of(whole) == list(range(3 * MOST_BEHIND))  # is read at its end
    assert await engine.close(0, 60)
