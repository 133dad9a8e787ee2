"""APScheduler 3 with its usual scheduler (a thread, and a pool of ten for the jobs): in memory, or in SQLite.

`sqlite` has the journal that SQLAlchemy leaves alone, `wal` has WAL, both with `synchronous=FULL`: a commit is on the
disk. `wal-normal` has WAL with `synchronous=NORMAL`: a power cut may cost the last commits. A job that has run is
removed, and nothing tells what became of it.
"""

from __future__ import annotations

import pickle
import time
from datetime import datetime, timedelta, timezone
from typing import Any

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.jobstores.memory import MemoryJobStore
from apscheduler.jobstores.sqlalchemy import SQLAlchemyJobStore
from apscheduler.schedulers.background import BackgroundScheduler
from common import (
    LATE,
    TASK_SECONDS,
    Pauses,
    Result,
    began,
    ended,
    lateness,
    main,
    megabytes,
    note,
    since_start_of_process,
    times,
)
from sqlalchemy import event, text

UTC = timezone.utc  # noqa: UP017 - a peer's Python may be 3.10
JOURNAL = {"sqlite": ("DELETE", "FULL"), "wal": ("WAL", "FULL"), "wal-normal": ("WAL", "NORMAL")}
WITHIN = 60.0


def tick(due: float) -> None:
    began(due)
    ended()


def tock(offset: float) -> None:
    """Runs once a second from `offset` on; which second it is follows from the clock."""
    now = time.time()
    began(now - (now - offset) % 1.0)


def far() -> None:
    """Never runs here."""


def witness(log: str, name: str) -> None:
    time.sleep(TASK_SECONDS)
    note(log, name)


def make(store: str, folder: str, durable: bool = True) -> BackgroundScheduler:
    """A scheduler on one of the stores; one that only fills it need not wait for the disk."""
    if store == "memory":
        jobs: Any = MemoryJobStore()
    else:
        jobs = SQLAlchemyJobStore(url=f"sqlite:///{folder}/aps3.db")
        mode, synchronous = JOURNAL[store]
        event.listen(jobs.engine, "connect", lambda raw, _: journal(raw, mode, synchronous if durable else "OFF"))
    return BackgroundScheduler(
        jobstores={"default": jobs},
        executors={"default": ThreadPoolExecutor(10)},
        job_defaults={"misfire_grace_time": None, "coalesce": False, "max_instances": 1_000},
        timezone=UTC,
    )


def journal(raw: Any, mode: str, synchronous: str) -> None:
    raw.execute(f"PRAGMA journal_mode={mode}").close()
    raw.execute(f"PRAGMA synchronous={synchronous}").close()


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def far_away(number: int = 0) -> datetime:
    return datetime.now(UTC) + timedelta(days=1, seconds=number)


def started(store: str, folder: str, paused: bool = False) -> BackgroundScheduler:
    scheduler = make(store, folder)
    scheduler.start(paused=paused)
    return scheduler


def filling(store: str, folder: str) -> BackgroundScheduler:
    """One that runs nothing and adds quickly. In memory it is the one that runs them later."""
    scheduler = make(store, folder, durable=False)
    scheduler.start(paused=True)
    return scheduler


def adds(store: str, folder: str, count: int) -> Result:
    scheduler = started(store, folder)
    return times(lambda number: scheduler.add_job(far, "date", run_date=far_away(number)), count)


def due(store: str, folder: str, count: int, ahead: float) -> Result:
    scheduler = filling(store, folder)
    instant = time.time() + ahead
    for _ in range(count):
        scheduler.add_job(tick, "date", run_date=at(instant), args=(instant,))
    if store != "memory":
        scheduler.shutdown()
        scheduler = started(store, folder, paused=True)
    if time.time() > instant:
        raise SystemExit("the jobs were not stored in time")
    scheduler.resume()
    return worked_off(instant, count)


def worked_off(instant: float, count: int) -> Result:
    while time.time() < instant + WITHIN and lateness()["ran"] < count:
        time.sleep(0.25)
    return lateness(instant)


def uncrowded(store: str, folder: str, runners: int, seconds: float) -> Result:
    scheduler = started(store, folder, paused=True)
    first = time.time() + 2
    for number in range(runners):
        offset = first + number / runners
        scheduler.add_job(tock, "interval", seconds=1, start_date=at(offset), args=(offset,))
    scheduler.resume()
    time.sleep(2 + seconds)
    return lateness()


def fill(store: str, folder: str, count: int) -> Result:
    """`count` jobs that are not due, straight into the table. One pickled state serves for all, since the store does
    not look at the state of a job that is not due."""
    scheduler = filling(store, folder)
    state = pickle.dumps(scheduler.add_job(far, "interval", days=1).__getstate__(), pickle.HIGHEST_PROTOCOL)
    base = time.time() + 86_400
    with scheduler._lookup_jobstore("default").engine.begin() as connection:
        for start in range(0, count, 50_000):
            numbers = range(start, min(count, start + 50_000))
            rows = [{"id": f"far.{number}", "next": base + number, "state": state} for number in numbers]
            connection.execute(text("INSERT INTO apscheduler_jobs VALUES (:id, :next, :state)"), rows)
    return {}


def arm(store: str, folder: str) -> Result:
    """One job whose time was a minute ago."""
    scheduler = started(store, folder, paused=True)
    scheduler.add_job(tick, "date", run_date=at(time.time() - 60), args=(0.0,), id="overdue", replace_existing=True)
    return {}


def overdue(store: str, folder: str) -> Result:
    """From `start()`, and from the start of the process, to the overdue job's code."""
    start, process = time.time(), since_start_of_process()
    started(store, folder)
    deadline = time.monotonic() + 60
    while not LATE and time.monotonic() < deadline:
        time.sleep(0.0005)
    took = LATE[0] - start
    time.sleep(1)
    return {"from_start": took, "from_process": process + took, "megabytes": megabytes()}


def hold(scheduler: BackgroundScheduler, count: int) -> None:
    """`count` jobs that are not due."""
    for number in range(count):
        scheduler.add_job(far, "interval", days=1, next_run_time=far_away(number))


def memory(store: str, folder: str, count: int) -> Result:
    scheduler = started(store, folder)
    before = megabytes()
    hold(scheduler, count)
    return {"bytes_each": (megabytes() - before) * 1e6 / count, "megabytes": megabytes()}


def idle(store: str, folder: str, count: int, settle: float, seconds: float) -> Result:
    """Processor time in 10 s; a database has been filled before."""
    scheduler = started(store, folder)
    if store == "memory":
        hold(scheduler, count)
    time.sleep(settle)
    before = time.process_time()
    time.sleep(seconds)
    return {"cpu": (time.process_time() - before) * 10 / seconds}


def pauses(store: str, folder: str, count: int, more: int, burst: int) -> Result:
    """The collector's pauses while `more` jobs are added to `count` and `burst` become due."""
    scheduler = started(store, folder)
    if store == "memory":
        hold(scheduler, count)
    listener = Pauses()
    listener.listen()
    hold(scheduler, more)
    instant = time.time()
    for _ in range(burst):
        scheduler.add_job(tick, "date", run_date=at(instant), args=(instant,))
    worked_off(instant, burst)
    return listener.result()


def prepare(store: str, folder: str, log: str, count: int, ahead: float) -> Result:
    """Jobs for `work`, all due `ahead` seconds from now."""
    scheduler = started(store, folder, paused=True)
    instant = time.time() + ahead
    for number in range(count):
        scheduler.add_job(witness, "date", run_date=at(instant), args=(log, str(number)))
    return {}


def work(store: str, folder: str) -> None:
    """Until it is killed, ten minutes at most."""
    started(store, folder)
    time.sleep(600)


if __name__ == "__main__":
    main(
        {
            function.__name__: function
            for function in (adds, due, uncrowded, fill, arm, overdue, memory, idle, pauses, prepare, work)
        }
    )
