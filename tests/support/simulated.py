"""Reading what a simulated service has done."""

from datetime import UTC, datetime, timedelta
from typing import Any

from aico_sched.schedule import format_rfc3339, from_datetime
from aico_sched.testing import Simulation
from aico_sched.topics.views import ExecutionView, TaskView

DAY = 86_400.0
HOUR = 3_600.0
MINUTE = 60.0


def stamp(moment: datetime) -> str:
    """As the service writes it."""
    return format_rfc3339(from_datetime(moment))


def after(simulation: Simulation, seconds: float) -> str:
    """The time so many seconds from now, as the service writes it."""
    return stamp(simulation.clock.now + timedelta(seconds=seconds))


def at(text: str) -> datetime:
    """A moment in UTC: `2026-03-28 12:00`."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


async def task(simulation: Simulation, task_id: str) -> TaskView:
    return (await simulation.client.status(task_id, history=0)).task


async def executions(simulation: Simulation, task_id: str, *statuses: str) -> list[ExecutionView]:
    """All executions of a task, the oldest first; only those with one of `statuses`, if any are given."""
    rows: list[ExecutionView] = []
    cursor: str | None = None
    while True:
        page = await simulation.client.executions(task_id=task_id, limit=1_000, cursor=cursor)
        rows += page.executions
        cursor = page.next_cursor
        if cursor is None:
            return [row for row in reversed(rows) if not statuses or row.status in statuses]


async def slots(simulation: Simulation, task_id: str, *statuses: str) -> list[str]:
    """The slots of those executions."""
    return [row.scheduled_for for row in await executions(simulation, task_id, *statuses)]


async def events(simulation: Simulation, topic: str) -> list[dict[str, Any]]:
    """The payloads of a topic's events, the oldest first."""
    page = await simulation.client.event_list(topic, limit=1_000)
    return [dict(event.payload) for event in page.events]
