"""Threads for work that may never end: reuse, context, processor time, and those that are given up."""

import asyncio
import contextvars
import threading
import time
from typing import Any

import pytest

from aico_sched.execution.thread_pool import ThreadPool

VALUE: contextvars.ContextVar[str] = contextvars.ContextVar("VALUE", default="none")


async def ended(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0)


async def test_an_idle_thread_is_used_again_and_each_sees_the_context_of_its_caller() -> None:
    pool = ThreadPool()
    seen = []
    for word in ("a", "b", "c"):
        VALUE.set(word)
        seen.append(await pool.start(lambda: (VALUE.get(), threading.get_ident())).done)
        await ended(lambda: len(pool._idle) == 1)
    assert [word for word, _ in seen] == ["a", "b", "c"]
    assert len({thread for _, thread in seen}) == 1
    assert pool.threads == 1
    pool.close()
    await ended(lambda: pool.threads == 0)


@pytest.mark.parametrize("error", [ValueError("x"), SystemExit(3), StopIteration("x"), KeyboardInterrupt()])
async def test_what_work_raises_arrives_and_its_thread_lives_on(error: BaseException) -> None:
    pool = ThreadPool()

    def work() -> None:
        raise error

    with pytest.raises((type(error), RuntimeError)):
        failed = pool.start(work).done
        await asyncio.wait([failed])
        failed.result()
    assert await pool.start(lambda: 7).done == 7
    pool.close()


async def test_the_processor_time_is_the_thread_s_own() -> None:
    pool = ThreadPool()

    def burn(seconds: float) -> None:
        end = time.thread_time() + seconds
        while time.thread_time() < end:
            pass

    work = pool.start(lambda: burn(0.05))
    await work.done
    assert 0.05 <= work.cpu_seconds < 0.5
    idle = pool.start(lambda: None)
    await idle.done
    assert idle.cpu_seconds < 0.05
    pool.close()


async def test_work_that_is_given_up_is_counted_until_it_ends() -> None:
    pool = ThreadPool()
    release = threading.Event()
    work = pool.start(release.wait)
    pool.give_up(work)
    assert (pool.given_up, pool.threads) == (1, 1)
    assert await pool.start(lambda: 1).done == 1
    release.set()
    await ended(lambda: pool.given_up == 0 and pool.threads == 1)
    pool.close()
    await ended(lambda: pool.threads == 0)
