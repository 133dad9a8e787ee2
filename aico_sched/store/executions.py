"""Executions: what every move of one needs, and those that wait for their time."""

from functools import lru_cache
from typing import Any

from aico_sched.json_text import compact, decoded
from aico_sched.places import keys_of
from aico_sched.planning import RunTerms
from aico_sched.schedule import format_rfc3339, read_rfc3339
from aico_sched.store.fixed_delay import FixedDelay
from aico_sched.store.records import TaskRow
from aico_sched.store.tasks import cancel_waiting
from aico_sched.store.unit import Unit
from aico_sched.topics import names
from aico_sched.topics.internal import AttemptCancel, AttemptProgress, AttemptStart

OPTIONS_KEPT = 1_024
"""Different options whose meaning is kept: most tasks have the same few."""


class Executions:
    """The rows of executions, their events, and who waits for whom (`execution.states` has the moves)."""

    def __init__(self, unit: Unit) -> None:
        self._unit, self._database = unit, unit.database
        self.fixed_delay = FixedDelay(unit)
        self.blocked: set[str] = set()
        self._terms = lru_cache(OPTIONS_KEPT)(self._read_terms)
        self.reset()

    def reset(self) -> None:
        """Read which tasks may have blocked runs; also after a transaction that was rolled back. It may name one too
        many, never one too few."""
        self.blocked = {row[0] for row in self._database.run("blocked_tasks")}

    def start_waiting(self, execution_id: str) -> bool:
        """Claim an execution whose time has come; false if it does not wait any more, or while its task's class is
        gone."""
        execution = self._database.one("start_waiting", (self._unit.now, self._unit.boot_id, execution_id))
        if execution is None:
            return False
        task_id, attempt, trigger, scheduled_for, cause, traceparent = execution
        task = TaskRow(*self._database.run("task_even_deleted", (task_id,))[0])
        row = (task.task_class, task.config, task.options, task.created_by, task.created_role)
        told = None if cause is None else decoded(cause)
        slot_us = read_rfc3339(scheduled_for)
        self.start(execution_id, task_id, attempt, trigger, slot_us, row, told, traceparent or "")
        return True

    def enqueue(self, task_id: str, trigger: str, scheduled_for: str, priority: int, *, blocked: bool = False) -> str:
        """A new waiting execution; a blocked one starts when the task's running one ends."""
        execution_id = self._unit.new_execution_id()
        run_at = None if blocked else self._unit.now
        self.insert(task_id, execution_id, "queued", trigger, scheduled_for, run_at=run_at, priority=priority)
        self.belongs_to_trace(execution_id)
        if blocked:
            self.blocked.add(task_id)
        else:
            self.announce_run(execution_id, task_id, self._unit.now_us, priority)
        return execution_id

    def belongs_to_trace(self, execution_id: str) -> None:
        """The run goes on with the trace of what asked for it."""
        if self._unit.outbox.trace:
            self._database.run("set_traceparent", (self._unit.outbox.trace, execution_id))

    def progressed(self, progress: AttemptProgress) -> None:
        """Keep and publish a running attempt's latest word."""
        text = compact(progress.progress)
        row = self._database.one("set_progress", (text, progress.execution_id, progress.attempt))
        if row is not None:
            task_id, trigger, scheduled_for = row
            self.event(
                names.EXECUTION_PROGRESS,
                progress.execution_id,
                task_id,
                progress.attempt,
                trigger,
                scheduled_for,
                progress=progress.progress,
            )

    def start(
        self,
        execution_id: str,
        task_id: str,
        attempt: int,
        trigger: str,
        scheduled_for_us: int,
        row: tuple[Any, ...],
        cause: dict[str, Any] | None = None,
        traceparent: str = "",
    ) -> None:
        """Announce a claimed attempt. `row` starts with the task's class, config, options, creator and role."""
        task_class, config, options, creator, role = row[:5]
        terms = self._terms(options)
        self._unit.said.starts.append(
            AttemptStart(
                execution_id,
                task_id,
                attempt,
                task_class,
                decoded(config),
                scheduled_for_us,
                self._unit.now_us,
                terms.timeout,
                terms.retry,
                trigger,
                creator,
                role,
                self._unit.moved.environment_of(task_id, terms.environment),
                terms.limits,
                terms.resources,
                cause,
                terms.idle_only,
                keys_of(task_id, terms.options),
                traceparent,
            )
        )
        self._unit.outbox.trace = traceparent
        scheduled_for = format_rfc3339(scheduled_for_us)
        self.event(
            names.EXECUTION_STARTED, execution_id, task_id, attempt, trigger, scheduled_for, started_at=self._unit.now
        )

    def _read_terms(self, options: str) -> RunTerms:
        """What options, as they are kept, mean for a run. Whoever gets it must not change it."""
        return self._unit.defaults.terms(decoded(options))

    def announce_run(self, execution_id: str, task_id: str, run_at_us: int, priority: int) -> None:
        """Tell the scheduler of a run that waits for its time."""
        self._unit.said.due_runs.append(self._unit.due_run(execution_id, task_id, run_at_us, priority))

    def unblock(self, task_id: str) -> None:
        """A run of the task has ended: let the oldest one that waits for it go, unless another still runs."""
        if task_id not in self.blocked:
            return
        active = self._database.run("active_executions", (task_id,))
        if not active or any(status != "queued" or run_at is not None for _, status, run_at in active):
            return
        following = self._database.one("next_blocked", (task_id,))
        if following is None:
            self.blocked.discard(task_id)
            return
        row = self._database.one("unblock", (self._unit.now, following[0]))
        if row is not None:
            self.announce_run(row[0], row[1], self._unit.now_us, row[2])

    def awaited(self, task_id: str) -> bool:
        """Whether something may wait for the end of a run of the task."""
        return task_id in self.blocked or self.fixed_delay.watches(task_id)

    def run_over(self, task_id: str, at_us: int) -> None:
        """A run of the task has come to its end: what waited for that goes on."""
        self.unblock(task_id)
        self.fixed_delay.follow(task_id, at_us)

    def insert(
        self,
        task_id: str,
        execution_id: str,
        status: str,
        trigger: str,
        scheduled_for: str,
        *,
        run_at: str | None = None,
        attempt: int = 0,
        priority: int = 0,
        reason: str | None = None,
        missed: int | None = None,
        completed_at: str | None = None,
    ) -> bool:
        """A new row; false, and none, if the slot has one already: no slot ever runs twice."""
        running = status == "running"
        inserted = self._database.change(
            "insert_execution",
            (
                task_id,
                execution_id,
                self._unit.now if running else None,
                status,
                trigger,
                scheduled_for,
                run_at,
                attempt,
                priority,
                reason,
                missed,
                self._unit.boot_id if running else None,
                completed_at,
            ),
        )
        return bool(inserted)

    def event(
        self,
        topic: str,
        execution_id: str,
        task_id: str,
        attempt: int,
        trigger: str,
        scheduled_for: str,
        **more: Any,
    ) -> None:
        """An event of an execution; fields that say nothing are left out."""
        body = {
            "execution_id": execution_id,
            "task_id": task_id,
            "attempt": attempt,
            "trigger": trigger,
            "scheduled_for": scheduled_for,
        }
        for name, value in more.items():
            if value is not None:
                body[name] = value
        self._unit.execution_event(topic, body)

    def cancel_all(self, active: list[tuple[Any, ...]], reason: str) -> None:
        """End these executions, whether they run or wait."""
        for execution_id, status, _ in active:
            if status == "running":
                self._unit.said.cancels.append(AttemptCancel(execution_id, "cancelled", reason))
            else:
                cancel_waiting(self._unit, execution_id, reason)
