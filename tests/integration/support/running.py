"""A real service in the test's own loop: its client, everything it says, and its database seen from outside."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import libsql_experimental as libsql

from aico_sched.client import SchedulerClient
from aico_sched.client.events import Event
from aico_sched.security.database_key import database_key
from aico_sched.service import SchedulerService
from aico_sched.settings import Settings
from aico_sched.topics import names
from aico_sched.topics.views import ExecutionView

DEADLINE = 20.0
"""Seconds any single thing may take; reached only by what would never happen."""

TASK_MODULE = "tests.integration.support.tasks"


def settings_for(folder: Path, **overrides: Any) -> Settings:
    """Settings of a service that a busy machine does not hold back, on any free ports."""
    values: dict[str, Any] = {
        "scheduler__max_cpu_percent": 100,
        "scheduler__max_memory_percent": 100,
        "scheduler__task_modules": [TASK_MODULE],
        "scheduler__timezone": "UTC",
        "scheduler__shutdown_grace": 0,
        # The tests' own tasks open gates in the test's process.
        "sandbox__enabled": False,
        "bus__publish_port": 0,
        "bus__subscribe_port": 0,
    }
    environ = {"AICO_SCHED_DATA_DIR": str(folder), "AICO_SCHED_CONFIG_DIR": str(folder)}
    return Settings.load(environ=environ, **(values | overrides))


class Recorder:
    """The events below `prefix` from now on, in the order in which they arrive."""

    def __init__(self, client: SchedulerClient, prefix: str = names.EVENTS) -> None:
        self.seen: list[Event] = []
        self._stream = client.events(prefix)
        self._changed = asyncio.Event()
        self._reading = asyncio.create_task(self._read())

    async def _read(self) -> None:
        async for event in self._stream:
            self.seen.append(event)
            self._changed.set()

    async def close(self) -> None:
        await self._stream.aclose()
        await self._reading

    def of(self, topic: str, **payload: Any) -> list[Event]:
        """Those of `topic` so far whose payload holds these values."""
        wanted = payload.items()
        return [event for event in self.seen if event.topic == topic and wanted <= _hashable(event.payload, payload)]

    async def first(self, topic: str, **payload: Any) -> Event:
        """The first of them, waited for."""
        return (await self.several(1, topic, **payload))[0]

    async def several(self, count: int, topic: str, **payload: Any) -> list[Event]:
        """The first `count` of them, waited for."""
        await self.until(lambda: len(self.of(topic, **payload)) >= count, f"{count} of {topic} {payload}")
        return self.of(topic, **payload)[:count]

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        """Until `condition()` holds; looked at with each event."""
        try:
            async with asyncio.timeout(DEADLINE):
                while not condition():
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            shown = [(event.topic.removeprefix(names.EVENTS), event.payload) for event in self.seen[-20:]]
            raise AssertionError(f"did not come within {DEADLINE:g} s: {what}; the last events: {shown}") from None

    def topics(self, **payload: Any) -> list[str]:
        """What happened, in order: the topics, without their common beginning, of events with these values."""
        wanted = payload.items()
        found = (event for event in self.seen if wanted <= _hashable(event.payload, payload))
        return [event.topic.removeprefix(names.EVENTS) for event in found]


def _hashable(payload: dict[str, Any], like: dict[str, Any]) -> Any:
    return {name: payload[name] for name in like if name in payload}.items()


class Running:
    """A started service, with an admin's client and a record of its events."""

    def __init__(self, service: SchedulerService, client: SchedulerClient, events: Recorder) -> None:
        self.service, self.client, self.events = service, client, events
        self.settings = service.settings
        self._connection: Any = None

    async def finished(self, execution_id: str) -> ExecutionView:
        """The execution once it is over."""
        return await self.client.wait(execution_id, DEADLINE)

    async def ran(self, task_id: str) -> ExecutionView:
        """Trigger the task and return its run once it is over."""
        return await self.finished((await self.client.trigger(task_id)).execution_id)

    async def barrier(self) -> None:
        """Until the service has handled everything that was sent to it before: every actor has answered."""
        await self.client.stats()

    def query(self, sql: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Rows of the database as another connection sees them: only what is committed."""
        if self._connection is None:
            key = database_key(self.settings.data_dir / "keys" / "database.key", {})
            path = str(self.settings.database_path)
            self._connection = libsql.connect(path, encryption_key=key, isolation_level=None)
        return self._connection.execute(sql, parameters).fetchall() or []

    def audit(self) -> list[dict[str, Any]]:
        """The audit trail, oldest line first."""
        columns = ("source", "role", "action", "target", "outcome", "detail")
        rows = self.query(f"SELECT {', '.join(columns)} FROM scheduler_audit ORDER BY id")
        return [dict(zip(columns, row, strict=True)) for row in rows]

    def content(self) -> dict[str, list[tuple[Any, ...]]]:
        """All that commands can change, to compare before and after."""
        tables = ("scheduled_tasks", "task_executions", "task_attempts", "scheduler_dead_letters", "scheduler_events")
        return {table: self.query(f"SELECT * FROM {table} ORDER BY 1, 2") for table in tables}

    def close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None
