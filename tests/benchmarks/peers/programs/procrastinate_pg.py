"""Procrastinate on a PostgreSQL of the bench's own with its default durability (`fsync` and `synchronous_commit` on).

Jobs stay in their table when they have run, so there is a history. Its worker looks ten times a second (its default
is every five seconds) and runs up to 100 jobs at once.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timezone
from typing import Any

from common import AT_ONCE, TASK_SECONDS, Result, began, ended, lateness, main, note, percentile
from procrastinate import App, PsycopgConnector

UTC = timezone.utc  # noqa: UP017 - a peer's Python may be 3.10
WITHIN = 60.0
CONCURRENCY = 100
EVERY = 0.1
IN_FLIGHT = 16
STALLED_AFTER = 3
"""Seconds without a heartbeat of its worker after which a run counts as lost."""


class Tasks:
    """The tasks on one database."""

    def __init__(self, conninfo: str) -> None:
        self.app = App(connector=PsycopgConnector(conninfo=conninfo, min_size=4, max_size=IN_FLIGHT))

        @self.app.task(name="tick")
        async def tick(due: float) -> None:
            began(due)
            ended()

        @self.app.task(name="witness")
        async def witness(log: str, name: str) -> None:
            await asyncio.sleep(TASK_SECONDS)
            note(log, name)

        self.tick, self.witness = tick, witness

    async def defer(self, task: Any, arguments: list[dict[str, Any]], moments: list[float]) -> None:
        """Defer them all, `IN_FLIGHT` at a time."""
        gate = asyncio.Semaphore(IN_FLIGHT)

        async def one(given: dict[str, Any], moment: float) -> None:
            async with gate:
                await task.configure(schedule_at=at(moment)).defer_async(**given)

        await asyncio.gather(*(one(*each) for each in zip(arguments, moments)))  # noqa: B905

    def worker(self, concurrency: int = CONCURRENCY) -> Any:
        return self.app.run_worker_async(
            concurrency=concurrency,
            fetch_job_polling_interval=EVERY,
            install_signal_handlers=False,
            update_heartbeat_interval=1,
            stalled_worker_timeout=STALLED_AFTER,
        )


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


async def setup(conninfo: str) -> Result:
    """An empty database gets its tables."""
    async with Tasks(conninfo).app.open_async() as app:
        await app.schema_manager.apply_schema_async()
    return {}


async def adds(conninfo: str, count: int) -> Result:
    """Pipelined: `IN_FLIGHT` connections at a time."""
    tasks, day = Tasks(conninfo), time.time() + 86_400
    async with tasks.app.open_async():
        start = time.perf_counter()
        await tasks.defer(tasks.tick, [{"due": 0.0}] * count, [day + number for number in range(count)])
        return {"rate": count / (time.perf_counter() - start)}


async def singles(conninfo: str, count: int) -> Result:
    tasks, day, took = Tasks(conninfo), time.time() + 86_400, []
    async with tasks.app.open_async():
        for number in range(count):
            start = time.perf_counter()
            await tasks.tick.configure(schedule_at=at(day + number)).defer_async(due=0.0)
            took.append(time.perf_counter() - start)
    return {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99), "max": max(took)}


async def run_until(tasks: Tasks, count: int, deadline: float) -> None:
    working = asyncio.create_task(tasks.worker())
    while time.time() < deadline and lateness()["ran"] < count:
        await asyncio.sleep(0.25)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def due(conninfo: str, count: int, ahead: float) -> Result:
    tasks, instant = Tasks(conninfo), time.time() + ahead
    async with tasks.app.open_async():
        await tasks.tick.configure(schedule_at=at(instant)).batch_defer_async(*[{"due": instant}] * count)
        if time.time() > instant:
            raise SystemExit("the jobs were not stored in time")
        await run_until(tasks, count, instant + WITHIN)
    return lateness(instant)


async def uncrowded(conninfo: str, runners: int, seconds: float) -> Result:
    tasks, count, first = Tasks(conninfo), int(runners * seconds), time.time() + 5
    moments = [first + number / runners for number in range(count)]
    async with tasks.app.open_async():
        await tasks.defer(tasks.tick, [{"due": moment} for moment in moments], moments)
        await run_until(tasks, count, first + seconds + 10)
    return lateness()


async def prepare(conninfo: str, log: str, count: int, ahead: float) -> Result:
    """Jobs for `work`, all due `ahead` seconds from now."""
    tasks, instant = Tasks(conninfo), time.time() + ahead
    async with tasks.app.open_async():
        given = [{"log": log, "name": str(number)} for number in range(count)]
        await tasks.defer(tasks.witness, given, [instant] * count)
    return {}


async def work(conninfo: str) -> None:
    """Until it is killed, ten minutes at most. Runs that a killed worker left behind are retried once a second, as the
    manual's recipe for stalled jobs does in a periodic task."""
    tasks = Tasks(conninfo)
    async with asyncio.timeout(600), tasks.app.open_async() as app:
        working = asyncio.create_task(tasks.worker(AT_ONCE))
        while not working.done():
            await asyncio.sleep(1)
            for job in await app.job_manager.get_stalled_jobs(seconds_since_heartbeat=STALLED_AFTER):
                await app.job_manager.retry_job(job)
        await working


if __name__ == "__main__":
    main(
        {
            function.__name__: lambda function=function, **asked: asyncio.run(function(**asked))
            for function in (setup, adds, singles, due, uncrowded, prepare, work)
        }
    )
