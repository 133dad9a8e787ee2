"""arq on a Redis of the bench's own with `appendonly yes` and `appendfsync always`: what is answered is on the disk.

Its worker has its usual settings but for room: 1,000 jobs at once, and results are not kept. It looks twice a second.
"""

from __future__ import annotations

import asyncio
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker
from common import AT_ONCE, TASK_SECONDS, Result, began, ended, lateness, main, note, percentile

UTC = timezone.utc  # noqa: UP017 - a peer's Python may be 3.10
WITHIN = 60.0
ROOM = 1_000
IN_FLIGHT = 100
CUT_OFF_AFTER = 2
"""Seconds after which arq takes a run as lost whose worker was killed, ten more added by itself."""


async def tick(_: Any, due: float) -> None:
    began(due)
    ended()


async def witness(_: Any, log: str, name: str) -> None:
    await asyncio.sleep(TASK_SECONDS)
    note(log, name)


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


async def pool(port: int) -> ArqRedis:
    return await create_pool(RedisSettings(host="127.0.0.1", port=port))


async def many(redis: ArqRedis, calls: list[tuple[Any, ...]], moments: list[float]) -> None:
    """Enqueue them all, `IN_FLIGHT` at a time."""
    gate = asyncio.Semaphore(IN_FLIGHT)

    async def one(call: tuple[Any, ...], moment: float) -> None:
        async with gate:
            await redis.enqueue_job(*call, _defer_until=at(moment))

    await asyncio.gather(*(one(call, moment) for call, moment in zip(calls, moments)))  # noqa: B905


def worker(redis: ArqRedis, timeout: float = 300, room: int = ROOM) -> Worker:
    return Worker(
        functions=[tick, witness],
        redis_pool=redis,
        max_jobs=room,
        keep_result=0,
        job_timeout=timeout,
        handle_signals=False,
        health_check_interval=3600,
    )


async def adds(port: int, count: int) -> Result:
    """Pipelined: `IN_FLIGHT` at a time."""
    redis, day = await pool(port), time.time() + 86_400
    start = time.perf_counter()
    await many(redis, [("tick", 0.0)] * count, [day + number for number in range(count)])
    return {"rate": count / (time.perf_counter() - start)}


async def singles(port: int, count: int) -> Result:
    redis, day, took = await pool(port), datetime.now(UTC) + timedelta(days=1), []
    for number in range(count):
        start = time.perf_counter()
        await redis.enqueue_job("tick", 0.0, _defer_until=day + timedelta(seconds=number))
        took.append(time.perf_counter() - start)
    return {"p50": percentile(took, 0.5), "p99": percentile(took, 0.99), "max": max(took)}


async def run_until(redis: ArqRedis, count: int, deadline: float) -> None:
    working = asyncio.create_task(worker(redis).async_run())
    while time.time() < deadline and lateness()["ran"] < count:
        await asyncio.sleep(0.25)
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)


async def due(port: int, count: int, ahead: float) -> Result:
    redis, instant = await pool(port), time.time() + ahead
    await many(redis, [("tick", instant)] * count, [instant] * count)
    if time.time() > instant:
        raise SystemExit("the jobs were not stored in time")
    await run_until(redis, count, instant + WITHIN)
    return lateness(instant)


async def uncrowded(port: int, runners: int, seconds: float) -> Result:
    redis, count, first = await pool(port), int(runners * seconds), time.time() + 3
    moments = [first + number / runners for number in range(count)]
    await many(redis, [("tick", moment) for moment in moments], moments)
    await run_until(redis, count, first + seconds + 10)
    return lateness()


async def idle(port: int, count: int, settle: float, seconds: float) -> Result:
    """Processor time of the worker (not of Redis) in 10 s."""
    redis, day = await pool(port), int((time.time() + 86_400) * 1_000)
    for start in range(0, count, 10_000):
        await redis.zadd("arq:queue", {f"far{n}": day + n for n in range(start, min(count, start + 10_000))})
    working = asyncio.create_task(worker(redis).async_run())
    await asyncio.sleep(settle)
    before = time.process_time()
    await asyncio.sleep(seconds)
    used = time.process_time() - before
    working.cancel()
    await asyncio.gather(working, return_exceptions=True)
    return {"cpu": used * 10 / seconds}


async def prepare(port: int, log: str, count: int, ahead: float) -> Result:
    """Jobs for `work`, all due `ahead` seconds from now."""
    redis, instant = await pool(port), time.time() + ahead
    await many(redis, [("witness", log, str(number)) for number in range(count)], [instant] * count)
    return {}


async def work(port: int) -> None:
    """Until it is killed, ten minutes at most."""
    async with asyncio.timeout(600):
        await worker(await pool(port), CUT_OFF_AFTER, AT_ONCE).async_run()


if __name__ == "__main__":
    main(
        {
            function.__name__: lambda function=function, **asked: asyncio.run(function(**asked))
            for function in (adds, singles, due, uncrowded, idle, prepare, work)
        }
    )
