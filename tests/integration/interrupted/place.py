"""What the nine tasks work on, made once and copied: a stopped service's data folder whose database also holds AICO's
tables, a log folder, and a ChromaDB folder."""

import json
import os
import random
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from aico_sched.security.database_key import key_from_file
from aico_sched.security.keys import KeyRing
from aico_sched.settings import Settings
from aico_sched.store.connection import Database
from aico_sched.wiring import database_keys, open_database
from tests.integration.agency.agency_data import TRAITS, emotions
from tests.integration.support.forked import Stem
from tests.integration.support.running import settings_for
from tests.integration.test_key_rotation import made_before
from tests.integration.test_run_by_hand import BUILT_IN

LONG = os.environ.get("AICO_SCHED_LONG") == "1"
SIZE = 10 if LONG else 1

FILLER, LOG_ROWS, SAMPLES, INTERACTIONS, ACTIVE_DAYS = 600, 4_000 * SIZE, 400 * SIZE, 1_000 * SIZE, 21
VECTORS, HOLES, FACTS = 1_500 * SIZE, 800 * SIZE, 20 * SIZE
SHELVES = "tests.integration.interrupted.shelves:Shelves"
NOT_NOW = "0 0 29 2 *"
WITNESS = "x" * 20_000

SCHEMA = """
CREATE TABLE logs (id INTEGER PRIMARY KEY, timestamp TEXT, message TEXT);
CREATE TABLE emotion_samples (id INTEGER PRIMARY KEY, label TEXT, face TEXT, voice TEXT, text TEXT);
CREATE TABLE personality_traits (id INTEGER PRIMARY KEY, name TEXT, value REAL, baseline REAL, updated_at TEXT);
CREATE TABLE interactions (id INTEGER PRIMARY KEY, timestamp TEXT, kind TEXT, feedback REAL);
CREATE TABLE events (id INTEGER PRIMARY KEY, timestamp TEXT NOT NULL, topic TEXT NOT NULL);
"""
HOLED = """INSERT INTO scheduler_seen_messages
WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1)
SELECT 'filler/' || i, 4000000000000000, randomblob(3500) FROM n"""


class Made(NamedTuple):
    """What a place held before anybody worked on it."""

    now: datetime
    database_key: str
    clients: dict[str, str]
    vectors: dict[str, Any]


class Place:
    """A folder with all of it."""

    def __init__(self, folder: Path, made: Made) -> None:
        self.folder, self.made = folder, made
        self.shelf, self.memories = folder / "shelf", folder / "memories"

    @property
    def settings(self) -> Settings:
        """Of a service that runs none of its tasks by itself."""
        tasks: dict[str, dict[str, Any]] = {}
        for category, _, name in (builtin.partition(".") for builtin in BUILT_IN):
            tasks.setdefault(category, {})[name] = {"schedule": NOT_NOW}
        return settings_for(self.folder / "data", tasks=tasks)

    @property
    def environment(self) -> dict[str, str]:
        """Of a command that works on it."""
        return {
            "AICO_SCHED_DATA_DIR": str(self.folder / "data"),
            "AICO_SCHED_CONFIG_DIR": str(self.folder / "config"),
            "AICO_DATA_DIR": str(self.folder / "aico"),
            "AICO_LOGS_DIR": str(self.folder / "logs"),
        }

    def ring(self) -> KeyRing:
        return KeyRing(self.folder / "data" / "keys")

    def database_key(self) -> str:
        return key_from_file(self.folder / "data" / "keys" / "database.key")

    def task_folder(self, task: str) -> Path:
        return self.folder / "data" / "task_data" / task

    @contextmanager
    def database(self) -> Iterator[Database]:
        """As the service's next start opens it: what was begun is finished first."""
        opened = open_database(self.settings, database_keys(self.settings))
        try:
            yield opened
        finally:
            opened.close()

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        with self.database() as database:
            return database._raw(sql)

    def copy(self, folder: Path) -> "Place":
        shutil.copytree(self.folder, folder, dirs_exist_ok=True, copy_function=shutil.copy2)
        return Place(folder, self.made)


async def make_place(folder: Path, chroma: Stem) -> Place:
    """A new one in `folder`."""
    # No row or file is so near to a limit that it matters when the tests run.
    now = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    settings = settings_for(folder / "data")
    ring = KeyRing(settings.data_dir / "keys")
    ring.ensure(settings.bus.name)
    ring.create("bob", "operator")
    database = open_database(settings, database_keys(settings))
    try:
        _fill(database, now)
    finally:
        database.close()
    made_before(ring)
    ring.reload()
    _write_logs(folder / "logs", now)
    async with chroma.open(SHELVES, path=str(folder / "shelf")) as shelves:
        await shelves.call("fill", name="holes", count=VECTORS, delete=HOLES)
        vectors = (await shelves.call("look", name="holes"))["rows"]
    async with chroma.open(SHELVES, path=str(folder / "memories")) as shelves:
        await shelves.call("remember", count=FACTS, now=now.isoformat())
    clients = {key.name: key.public for key in ring.list()}
    made = Made(now, key_from_file(settings.data_dir / "keys" / "database.key"), clients, vectors)
    return Place(folder, made)


def _fill(database: Database, now: datetime) -> None:
    for statement in SCHEMA.strip().splitlines():
        database._raw(statement)
    draw = random.Random(7)
    database.begin()
    database.run("set_meta", ("witness", WITNESS))
    database.run_text(HOLED, (2 * FILLER,))
    old, fresh = (stamp(now - timedelta(days=days)) for days in (60, 2))
    logs = [(old if at < LOG_ROWS // 2 else fresh, f"message {at}") for at in range(LOG_ROWS)]
    _insert(database, "logs (timestamp, message)", logs)
    _insert(database, "emotion_samples (label, face, voice, text)", emotions(draw, SAMPLES))
    traits = [(name, value, value) for name, value in TRAITS.items()]
    _insert(database, "personality_traits (name, value, baseline)", traits)
    # The same in this month and the one before: it does not matter which of them is over when a test runs.
    first = now.replace(day=1, hour=0)
    months = (first, (first - timedelta(days=1)).replace(day=1))
    told = [
        (stamp(month + timedelta(minutes=at)), ("joke", "comfort", "question")[at % 3], 1.0 if at % 3 == 0 else -0.5)
        for month in months
        for at in range(INTERACTIONS)
    ]
    _insert(database, "interactions (timestamp, kind, feedback)", told)
    seen = [(stamp(hour + timedelta(minutes=minute)), "conversation.message")
            for hour in active_hours(now) for minute in range(0, 60, 10)]  # fmt: skip
    _insert(database, "events (timestamp, topic)", seen)
    database.commit()
    # Free pages among others, so that a vacuum has to move what stays.
    database.run_text("DELETE FROM scheduler_seen_messages WHERE message_id GLOB '*[13579]'", ())


def _insert(database: Database, into: str, rows: list[tuple[Any, ...]]) -> None:
    marks = ", ".join("?" * len(rows[0]))
    database._connection.executemany(f"INSERT INTO {into} VALUES ({marks})", rows)


def _write_logs(folder: Path, now: datetime) -> None:
    folder.mkdir()
    for name, days in (("app.log", 0), ("app.log.1", 2), ("app.log.2", 40), ("app.log.3", 50)):
        path = folder / name
        path.write_text(f"{name} " * 100)
        os.utime(path, ((now - timedelta(days=days)).timestamp(),) * 2)


def stamp(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


def active_hours(now: datetime) -> list[datetime]:
    """The hours in which the user of the place did something, UTC."""
    first = (now - timedelta(days=ACTIVE_DAYS)).replace(hour=0)
    hours = (first + timedelta(hours=number) for number in range(24 * ACTIVE_DAYS))
    return [hour for hour in hours if 8 <= hour.hour < 18 and hour.weekday() < 5]


def read_json(path: Path) -> Any:
    return json.loads(path.read_text())
