"""huey on SQLite with WAL and `fsync=True`, no results kept; its consumer runs in this process with its usual settings.

The scheduler of huey looks once a second for what is due, and no setting makes it look more often.
"""

from __future__ import annotations

import time
from datetime import datetime, timedelta, timezone
from typing import Any

from common import TASK_SECONDS, Result, began, ended, lateness, main, note, times
from huey import SqliteHuey

UTC = timezone.utc  # noqa: UP017 - a peer's Python may be 3.10
WITHIN = 60.0
WORKERS = 10


class Tasks:
    """The tasks of one database."""

    def __init__(self, folder: str, durable: bool = True) -> None:
        self.huey = SqliteHuey("bench", filename=f"{folder}/huey.db", fsync=durable, results=False, utc=True)

        @self.huey.task()
        def tick(due: float) -> None:
            began(due)
            ended()

        @self.huey.task()
        def witness(log: str, name: str) -> None:
            time.sleep(TASK_SECONDS)
            note(log, name)

        self.tick: Any = tick
        self.witness: Any = witness

    def consume(self) -> Any:
        consumer = self.huey.create_consumer(workers=WORKERS, periodic=False)
        consumer.start()
        return consumer


def at(moment: float) -> datetime:
    return datetime.fromtimestamp(moment, UTC)


def adds(folder: str, count: int) -> Result:
    tasks, day = Tasks(folder), datetime.now(UTC) + timedelta(days=1)
    return times(lambda number: tasks.tick.schedule((0.0,), eta=day + timedelta(seconds=number)), count)


def due(folder: str, count: int, ahead: float) -> Result:
    filling, instant = Tasks(folder, durable=False), time.time() + ahead
    for _ in range(count):
        filling.tick.schedule((instant,), eta=at(instant))
    if time.time() > instant:
        raise SystemExit("the tasks were not stored in time")
    consumer = Tasks(folder).consume()
    while time.time() < instant + WITHIN and lateness()["ran"] < count:
        time.sleep(0.25)
    consumer.stop()
    return lateness(instant)


def uncrowded(folder: str, runners: int, seconds: float) -> Result:
    tasks = Tasks(folder)
    count, first = int(runners * seconds), time.time() + 3
    for number in range(count):
        moment = first + number / runners
        tasks.tick.schedule((moment,), eta=at(moment))
    consumer = tasks.consume()
    while time.time() < first + seconds + 10 and lateness()["ran"] < count:
        time.sleep(0.25)
    consumer.stop()
    return lateness()


def idle(folder: str, count: int, settle: float, seconds: float) -> Result:
    """Processor time in 10 s."""
    tasks, day = Tasks(folder), datetime.now(UTC) + timedelta(days=1)
    with tasks.huey.storage.db(commit=True) as cursor:
        rows = ((day + timedelta(seconds=number)).timestamp() for number in range(count))
        cursor.executemany(
            "insert into schedule (queue, data, timestamp) values ('bench', x'00', ?)", ((r,) for r in rows)
        )
    consumer = tasks.consume()
    time.sleep(settle)
    before = time.process_time()
    time.sleep(seconds)
    used = time.process_time() - before
    consumer.stop()
    return {"cpu": used * 10 / seconds}


def prepare(folder: str, log: str, count: int, ahead: float) -> Result:
    """Tasks for `work`, all due `ahead` seconds from now."""
    tasks = Tasks(folder)
    instant = time.time() + ahead
    for number in range(count):
        tasks.witness.schedule((log, str(number)), eta=at(instant))
    return {}


def work(folder: str) -> None:
    """Until it is killed, ten minutes at most."""
    Tasks(folder).consume()
    time.sleep(600)


if __name__ == "__main__":
    main({function.__name__: function for function in (adds, due, uncrowded, idle, prepare, work)})
