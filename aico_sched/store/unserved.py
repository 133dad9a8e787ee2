"""Rows of slots that were never started: a slot that does not run leaves a row and an event that say why."""

from aico_sched.planning import count_slots
from aico_sched.schedule import Schedule, parse_rfc3339
from aico_sched.store.records import TaskRow
from aico_sched.store.unit import Unit
from aico_sched.topics import names

EVENTS = {"missed": names.EXECUTION_MISSED, "skipped": names.EXECUTION_SKIPPED}


def record_unserved(
    unit: Unit, status: str, task_id: str, scheduled_for: str, reason: str, count: int | None = None
) -> None:
    """A `missed` or `skipped` row for the slot `scheduled_for`; a missed one stands for `count` slots from there on. A
    slot that has a row already keeps it."""
    execution_id = unit.new_execution_id()
    inserted = unit.database.change(
        "insert_execution",
        (
            task_id,
            execution_id,
            None,
            status,
            "schedule",
            scheduled_for,
            None,
            0,
            0,
            reason,
            count,
            None,
            unit.now,
        ),
    )
    if not inserted:
        return
    body = {
        "execution_id": execution_id,
        "task_id": task_id,
        "attempt": 0,
        "trigger": "schedule",
        "scheduled_for": scheduled_for,
        "reason": reason,
    }
    unit.execution_event(EVENTS[status], body if count is None else {**body, "count": count})


def give_up_due(unit: Unit, task: TaskRow, schedule: Schedule, why: str) -> None:
    """The task's slots that are due by now and not yet claimed will not run, because of `why`."""
    if task.next_run is None or task.next_run > unit.now:
        return
    start = parse_rfc3339(task.next_run)
    count = count_slots(schedule, start, unit.now_us + 1, parse_rfc3339(task.anchor))
    record_unserved(unit, "missed", task.task_id, task.next_run, why, count)
