"""When a task runs next, after its definition or its state has changed."""

from collections.abc import Mapping
from typing import Any

from aico_sched.json_text import decoded
from aico_sched.planning import checked_schedule, first_slot, jitter_offset
from aico_sched.schedule import Schedule, format_rfc3339, parse_rfc3339
from aico_sched.store.records import TaskRow
from aico_sched.store.unit import Unit
from aico_sched.store.unserved import give_up_due, record_unserved
from aico_sched.topics.errors import CommandError, ErrorCode

TIMING = ("start_at", "end_at", "max_runs", "fixed_delay")
"""The options that move a task's next run when they change; all others leave it where it is."""


def retimed(unit: Unit, task: TaskRow, changed: TaskRow, schedule: Schedule) -> TaskRow:
    """`changed` with the next run it has from now on. One that nothing has to do with stays where it is, also one
    that is due already."""
    before, after = task.view()["options"], changed.view()["options"]
    if canonical(schedule) != task.schedule:
        first_or_refuse(schedule, after, unit.now_us, unit.now_us)
        changed = changed._replace(schedule=canonical(schedule), anchor=unit.now, finished=0)
    elif (
        changed.timezone == task.timezone
        and changed.runnable == task.runnable
        and all(before.get(name) == after.get(name) for name in TIMING)
    ):
        slot = None if task.next_run is None else parse_rfc3339(task.next_run)
        return waiting_for(changed, slot)
    return rescheduled(unit, task, changed, schedule, "the task was changed before it could run")


def rescheduled(unit: Unit, before: TaskRow, task: TaskRow, schedule: Schedule, why: str) -> TaskRow:
    """`task` with its next run as seen from now; what was due and is not any more is recorded as missed. A one-time
    task that has run stays finished."""
    after = next_from_now(unit, task, schedule)
    if before.next_run != after.next_run:
        give_up_due(unit, before, checked_schedule(before.schedule, before.timezone), why)
    if schedule.kind == "at" and after.finished and not task.finished:
        moment = format_rfc3339(schedule.next_after(-(2**62)) or 0)
        reason = "its time passed while the task was stopped, and the catch-up window is over"
        record_unserved(unit, "missed", task.task_id, moment, reason, 1)
    return after


def next_from_now(unit: Unit, task: TaskRow, schedule: Schedule) -> TaskRow:
    """`task` with the first slot after now, as its state, its options and a run that is under way allow."""
    options = task.view()["options"]
    if not task.runnable or (schedule.kind == "at" and task.finished):
        return waiting_for(task, None)
    if task.run_count >= (options.get("max_runs") or float("inf")):
        return waiting_for(task._replace(finished=1), None)
    if options.get("fixed_delay") and unit.database.one("scheduled_active", (task.task_id,)):
        return waiting_for(task._replace(finished=0), None)
    slot = first_slot(schedule, options, unit.now_us, parse_rfc3339(task.anchor))
    return waiting_for(task._replace(finished=int(slot is None and schedule.timed)), slot)


def waiting_for(task: TaskRow, slot: int | None) -> TaskRow:
    """The task with this next slot, or with none."""
    next_run, due_at = waiting(task.task_id, decoded(task.options), slot)
    return task._replace(next_run=next_run, due_at=due_at)


def waiting(task_id: str, options: Mapping[str, Any], slot: int | None) -> tuple[str | None, str | None]:
    """The columns `next_run` and `due_at` of a task that waits for this slot, or for none."""
    if slot is None:
        return None, None
    return format_rfc3339(slot), format_rfc3339(slot + jitter_offset(task_id, options))


def canonical(schedule: Schedule) -> str:
    """The text to keep: as it was given, but `@reboot` as the query that looks for it spells it."""
    return "@reboot" if schedule.kind == "reboot" else schedule.expression


def first_or_refuse(schedule: Schedule, options: Mapping[str, Any], now_us: int, anchor_us: int) -> int | None:
    """The first slot of a new task; one that would never run is refused."""
    slot = first_slot(schedule, options, now_us, anchor_us)
    if slot is None and schedule.timed:
        message = (
            f"{schedule.expression!r} never fires: its time has passed (beyond the catch-up window), or lies after "
            "end_at"
        )
        raise CommandError(ErrorCode.INVALID_SCHEDULE, message, field="schedule")
    return slot
