"""APScheduler 4 (a pre-release): schedules in memory, or in SQLite through aiosqlite (with `synchronous=FULL`).

Its settings are its own but for room: 1,000 jobs at once, and as many of one task.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from apscheduler import AsyncScheduler, TaskDefaults
from apscheduler.datastores.memory import MemoryDataStore
from apscheduler.datastores.sqlalchemy import SQLAlchemyDataStore
from apscheduler.triggers.date import DateTrigger
from apscheduler.triggers.interval import IntervalTrigger
from common import AT_ONCE, TASK_SECONDS, Pauses, Result, began, ended, lateness, main, megabytes, note, percentile
from sqlalchemy.ext.asyncio import create_async_engine

UTC = timezone.utc  # noqa: UP017 - a peer's Python may be 3.10
WITHIN = 60.0
ROOM = 1_000


async def tick(due: float) -> None:
    began(due)
    ended()


async def tock(offset: float) -> None:
    """Runs once a second from `offset` on; which second it is follows from the clock."""
    now = time.time()
    began(now - (now - offset) % 1.0)


async def far() -> None:
    """Never runs here."""


async def witness(log: str, name: str) -> None:
    await asyncio.sleep(TASK_SECONDS)
    note(log, name)


def make(store: str, folder: str, room: int = ROOM) -> AsyncScheduler:
    data: Any = MemoryDataStore()
    if store == "sqlite":
        data = SQLAlchemyDataStore(create_async_engine(f"sqlite+aiosqlite:///{folder}/aps4.db"))
    defaults = TaskDefaults(job_executor="async", max_running_jobs=ROOM)
    return AsyncScheduler(data, max_concurrent_jobs=room, task_defaults=defaults, lease_duration=timedelta(seconds=3))


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def far_away(number: int = 0) -> DateTrigger:
    return DateTrigger(datetime.now(UTC) + timedelta(days=1, seconds=number))


async def adds(store: str, folder: str, count: int) -> Result:
    async with make(store, folder) as scheduler:
        took, first = [], time.perf_counter()
        for number in range(count):
            start = time.perf_counter()
            await scheduler.add_schedule(far, far_away(number))
            took.append(time.perf_counter() - start)
        rate = count / (time.perf_counter() - first)
    return {"rate": rate, "p50": percentile(took, 0.5), "p99": percentile(took, 0.99), "max": max(took)}


async def due(store: str, folder: str, count: int, ahead: float) -> Result:
    async with make(store, folder) as scheduler:
        instant = time.time() + ahead
        for _ in range(count):
            await scheduler.add_schedule(tick, DateTrigger(at(instant)), args=(instant,))
        if time.time() > instant:
            raise SystemExit("the schedules were not stored in time")
        await scheduler.start_in_background()
        return await worked_off(instant, count)


async def worked_off(instant: float, count: int) -> Result:
    while time.time() < instant + WITHIN and lateness()["ran"] < count:
        await asyncio.sleep(0.25)
    return lateness(instant)


async def uncrowded(store: str, folder: str, runners: int, seconds: float) -> Result:
    async with make(store, folder) as scheduler:
        first = time.time() + 3
        for number in range(runners):
            offset = first + number / runners
            await scheduler.add_schedule(tock, IntervalTrigger(seconds=1, start_time=at(offset)), args=(offset,))
        await scheduler.start_in_background()
        await asyncio.sleep(3 + seconds)
        await scheduler.stop()
    return lateness()


async def hold(scheduler: AsyncScheduler, count: int) -> None:
    """`count` schedules that are not due."""
    for number in range(count):
        await scheduler.add_schedule(far, far_away(number))


async def memory(store: str, folder: str, count: int) -> Result:
    async with make(store, folder) as scheduler:
        before = megabytes()
        await hold(scheduler, count)
        return {"bytes_each": (megabytes() - before) * 1e6 / count, "megabytes": megabytes()}


async def pauses(store: str, folder: str, count: int, more: int, burst: int) -> Result:
    """The collector's pauses while `more` schedules are added to `count` and `burst` become due."""
    async with make(store, folder) as scheduler:
        await hold(scheduler, count)
        await scheduler.start_in_background()
        listener = Pauses()
        listener.listen()
        await hold(scheduler, more)
        instant = time.time()
        for _ in range(burst):
            await scheduler.add_schedule(tick, DateTrigger(at(instant)), args=(instant,))
        await worked_off(instant, burst)
        return listener.result()


async def prepare(store: str, folder: str, log: str, count: int, ahead: float) -> Result:
    """Schedules for `work`, all due `ahead` seconds from now."""
    async with make(store, folder) as scheduler:
        instant = time.time() + ahead
        for number in range(count):
            await scheduler.add_schedule(witness, DateTrigger(at(instant)), args=(log, str(number)))
    return {}


async def work(store: str, folder: str) -> None:
    """Until it is killed, ten minutes at most."""
    async with asyncio.timeout(600), make(store, folder, AT_ONCE) as scheduler:
        await scheduler.run_until_stopped()


if __name__ == "__main__":
    main(
        {
            function.__name__: lambda function=function, **asked: asyncio.run(function(**asked))
            for function in (adds, due, uncrowded, memory, pauses, prepare, work)
        }
    )
