"""Putting stored times right after the wall clock was set back.

A clock that ran ahead has let tasks wait for slots that lie years away by the right time, and has given retries times
that do not come. Every task is looked at again, a chunk a turn. How far that has come is a row of its own, so that a
crash in the middle loses nothing.
"""

from aico_sched.json_text import compact, decoded
from aico_sched.planning import first_slot
from aico_sched.schedule import IntervalSchedule, Schedule, format_rfc3339, parse_rfc3339, parse_schedule
from aico_sched.store.records import TaskRow
from aico_sched.store.tasks import TaskCommands
from aico_sched.store.unit import Unit

PROGRESS = "clock_step"
CHUNK = 100
"""Tasks in one turn: a few milliseconds."""

SLOTS_AHEAD = 1_000
"""Slots that have run already by the clock as it was, which are looked at to find the first that has not. Should even
more lie ahead, the rest is passed over one by one as they come due: a slot never runs twice."""

TOLERANCE = 1_000_000


class ClockStep:
    """Moves what waits for a time that the clock, set back, now puts too far ahead."""

    def __init__(self, unit: Unit, tasks: TaskCommands) -> None:
        self._unit, self._tasks = unit, tasks
        self._after: str | None = None
        self._by_us = 0
        self.reset()

    def reset(self) -> None:
        """Read how far it has come; also after a transaction that was rolled back."""
        row = self._unit.database.one("get_meta", (PROGRESS,))
        self._after, self._by_us = decoded(row[0]) if row else (None, 0)

    @property
    def under_way(self) -> bool:
        """Whether there are tasks left to look at."""
        return self._after is not None

    def look_back(self) -> None:
        """Begin, if the newest event of an earlier boot has a time that is yet to come."""
        row = self._unit.database.one("newest_event_time")
        if row is not None and parse_rfc3339(row[0]) > self._unit.now_us + TOLERANCE:
            self.begin(parse_rfc3339(row[0]) - self._unit.now_us)

    def begin(self, by_us: int) -> None:
        """The clock was set back by so much. Waiting runs are moved at once, they are few; tasks follow in chunks."""
        self._move_waits(by_us)
        self._by_us += by_us
        self._save("")

    def advance(self) -> None:
        """Look at the next chunk of tasks."""
        rows = self._unit.database.run("tasks_after", (self._after, CHUNK))
        for row in rows:
            self._look_at(TaskRow(*row))
        self._save(rows[-1][0] if len(rows) == CHUNK else None)

    def _save(self, after: str | None) -> None:
        self._after = after
        if after is None:
            self._by_us = 0
            self._unit.database.run("forget_meta", (PROGRESS,))
        else:
            self._unit.database.run("set_meta", (PROGRESS, compact([after, self._by_us])))

    def _move_waits(self, by_us: int) -> None:
        """A retry waits for time to pass, not for a time of day."""
        for execution_id, task_id, run_at, priority in self._unit.database.run("waits_ahead", (self._unit.now,)):
            moved = max(self._unit.now_us, parse_rfc3339(run_at) - by_us)
            self._unit.database.run("move_wait", (format_rfc3339(moved), execution_id))
            self._unit.said.due_runs.append(self._unit.due_run(execution_id, task_id, moved, priority))

    def _look_at(self, task: TaskRow) -> None:
        schedule, options = parse_schedule(task.schedule, task.timezone), decoded(task.options)
        waits_for_run = task.next_run is None and not task.finished
        all_run = task.run_count >= (options.get("max_runs") or float("inf"))
        if schedule.kind == "at" or not schedule.timed or waits_for_run or all_run:
            return
        now, anchor = self._unit.now_us, parse_rfc3339(task.anchor)
        following = None if task.next_run is None else parse_rfc3339(task.next_run)
        if isinstance(schedule, IntervalSchedule):
            if following is not None and following <= now + schedule.interval_us:
                return
            anchor = self._new_anchor(task, schedule, following)
        slot = first_slot(schedule, options, now, anchor)
        if not isinstance(schedule, IntervalSchedule):
            slot = self._not_run_yet(task, schedule, slot)
        if slot is not None and slot != following and (following is None or following > now):
            self._tasks.moved(task, slot, anchor)

    def _new_anchor(self, task: TaskRow, schedule: IntervalSchedule, following: int | None) -> int:
        """From where an interval counts by the new clock, so that the time between two runs is what it would have
        been, and no slot has the name of one that ran by the old clock."""
        now, interval = self._unit.now_us, schedule.interval_us
        slot = now + interval if following is None else min(max(following - self._by_us, now + 1), now + interval)
        anchor = slot - interval
        taken = {(ahead - anchor) % interval for ahead in self._slots_ahead(task)}
        return anchor + next(shift for shift in range(len(taken) + 1) if shift not in taken)

    def _not_run_yet(self, task: TaskRow, schedule: Schedule, slot: int | None) -> int | None:
        taken = set(self._slots_ahead(task))
        while slot is not None and slot in taken:
            slot = schedule.next_after(slot)
        return slot

    def _slots_ahead(self, task: TaskRow) -> list[int]:
        rows = self._unit.database.run("slots_ahead", (task.task_id, self._unit.now, SLOTS_AHEAD))
        return [parse_rfc3339(row[0]) for row in rows]
