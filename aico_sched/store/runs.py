"""Executions: claiming due slots, starting what waits, recording how attempts ended."""

from collections.abc import Mapping
from typing import Any

from aico_sched.execution.states import OUTCOME_EVENTS, status_after
from aico_sched.json_text import compact, decoded
from aico_sched.planning import MAX_QUEUED, priority_of
from aico_sched.schedule import format_rfc3339, parse_rfc3339, parse_schedule
from aico_sched.store.fixed_delay import FixedDelay
from aico_sched.store.records import ExecutionRow, TaskRow
from aico_sched.store.tasks import Sender, TaskCommands, cancel_waiting
from aico_sched.store.unit import Unit
from aico_sched.store.unserved import record_unserved
from aico_sched.topics import names
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import (
    AFTER_RUN,
    NEVER,
    AttemptCancel,
    AttemptEnd,
    AttemptProgress,
    AttemptStart,
    DueRun,
    Slot,
)

RUNS = ("run", "catchup")
"""The actions of a slot that mean to run it."""


class Runs:
    """Every move of an execution from one state to another (`execution.states`)."""

    def __init__(self, unit: Unit, tasks: TaskCommands) -> None:
        self._unit, self._tasks = unit, tasks
        self._database = unit.database
        # Tasks that may have blocked runs; it may name one too many, never one too few.
        self._blocked: set[str] = {row[0] for row in self._database.run("blocked_tasks")}
        self._fixed_delay = FixedDelay(unit)

    # Due slots.

    def claim_slot(self, slot: Slot) -> bool:
        """Advance the task past `slot` and create what becomes of it, in one transaction. Returns whether a run was
        started. A slot that is no longer the task's next one (it was edited, or claimed before) is ignored."""
        row = self._take(slot)
        if row is None:
            self._correct(slot.task_id)
            return False
        if slot.missed:
            self._record_missed(slot)
        outcome = slot.action
        if slot.action in RUNS:
            outcome = self._run_slot(slot, row)
        elif slot.action == "skip":
            scheduled_for = format_rfc3339(slot.scheduled_for_us)
            record_unserved(self._unit, "skipped", slot.task_id, scheduled_for, slot.reason)
        elif slot.action == "fail":
            self._fail_slot(slot, row)
        self._look_ahead(slot, outcome)
        return outcome == "started"

    def _take(self, slot: Slot) -> tuple[Any, ...] | None:
        """Move the task on to its next slot; None when `slot` is not the one it waits for."""
        unit, runs, waits = self._unit, slot.action in RUNS, slot.next_run_us > 0
        return self._database.one(
            "take_slot",
            (
                format_rfc3339(slot.next_run_us) if waits else None,
                unit.now if runs else None,
                int(runs),
                int(slot.next_run_us == NEVER),
                slot.task_id,
                slot.revision,
                format_rfc3339(slot.due_us),
                format_rfc3339(slot.next_due_us) if waits else None,
            ),
        )

    def _look_ahead(self, slot: Slot, outcome: str) -> None:
        """What a claimed slot means for the task's next ones, now that its outcome is known."""
        if outcome == "skipped":
            task = TaskRow(*self._database.run("uncount_run", (slot.task_id,))[0])
            if slot.next_run_us == NEVER and decoded(task.options).get("max_runs"):
                # It was planned as the last of so many runs, and none has come of it.
                task = self._tasks.resumed(task)
            self._unit.changed(task)
            if task.finished:
                self._announce_finished(slot.task_id)
        elif slot.next_run_us == NEVER:
            self._announce_finished(slot.task_id)
        if slot.next_run_us == AFTER_RUN:
            self._fixed_delay.watch(slot.task_id)
            if outcome not in ("started", "queued"):
                self._fixed_delay.follow(slot.task_id, self._unit.now_us)

    def _correct(self, task_id: str) -> None:
        """The scheduler believes something about the task that is no longer so: tell it how things stand."""
        task = self._unit.task(task_id)
        if task is not None:
            self._unit.changed(task)

    def _run_slot(self, slot: Slot, row: tuple[Any, ...]) -> str:
        """Start the slot's run, or queue or skip it as the overlap rule says. Returns which."""
        overlap = decoded(row[2]).get("overlap", "skip")
        if slot.action == "catchup":
            # The slots of a backlog run one after the other, whatever they do among themselves at other times.
            overlap = "queue"
        active = self._database.run("active_executions", (slot.task_id,)) if overlap != "allow" else []
        scheduled_for = format_rfc3339(slot.scheduled_for_us)
        if not active:
            return "started" if self._insert_running(slot.task_id, scheduled_for, row) else "skipped"
        if overlap == "skip":
            reason = f"the run {active[0][0]} has not finished"
            record_unserved(self._unit, "skipped", slot.task_id, scheduled_for, reason)
            return "skipped"
        if len(active) > MAX_QUEUED:
            reason = f"{MAX_QUEUED} runs are waiting already"
            record_unserved(self._unit, "missed", slot.task_id, scheduled_for, reason, 1)
            return "skipped"
        if not self._enqueue_slot(slot.task_id, scheduled_for, row[5]):
            return "skipped"
        if overlap == "cancel_previous":
            self._cancel_all(active, f"the slot {scheduled_for} is due")
            self._unblock(slot.task_id)
        return "queued"

    def _enqueue_slot(self, task_id: str, scheduled_for: str, priority: int) -> bool:
        """A run that waits for those before it; false if the slot has had its run."""
        execution_id = self._unit.new_execution_id()
        if not self._insert(task_id, execution_id, "queued", "schedule", scheduled_for, priority=priority):
            return False
        self._blocked.add(task_id)
        return True

    def _insert_running(self, task_id: str, scheduled_for: str, row: tuple[Any, ...]) -> bool:
        execution_id = self._unit.new_execution_id()
        if not self._insert(task_id, execution_id, "running", "schedule", scheduled_for, attempt=1, priority=row[5]):
            return False
        self._start(execution_id, task_id, 1, "schedule", scheduled_for, row)
        return True

    def _start(
        self, execution_id: str, task_id: str, attempt: int, trigger: str, scheduled_for: str, row: tuple[Any, ...]
    ) -> None:
        """Announce a claimed attempt. `row` starts with the task's class, config, options, creator and role."""
        task_class, config, options_text, creator, role = row[:5]
        options = decoded(options_text)
        defaults = self._unit.defaults
        self._unit.said.starts.append(
            AttemptStart(
                execution_id,
                task_id,
                attempt,
                task_class,
                decoded(config),
                parse_rfc3339(scheduled_for),
                self._unit.now_us,
                defaults.timeout_of(options),
                defaults.retry(options),
                trigger,
                creator,
                role,
            )
        )
        self._event(
            names.EXECUTION_STARTED, execution_id, task_id, attempt, trigger, scheduled_for, started_at=self._unit.now
        )

    def _fail_slot(self, slot: Slot, row: tuple[Any, ...]) -> None:
        """The slot was put off for longer than its task allows: a failed run that goes to the dead letters."""
        scheduled_for = format_rfc3339(slot.scheduled_for_us)
        execution_id = self._unit.new_execution_id()
        if not self._insert(
            slot.task_id,
            execution_id,
            "dead",
            "schedule",
            scheduled_for,
            reason=slot.reason,
            completed_at=self._unit.now,
        ):
            return
        self._database.run("insert_dead", (execution_id, slot.task_id, self._unit.now, slot.reason, row[1]))
        for topic in (names.EXECUTION_FAILED, names.EXECUTION_DEAD):
            self._event(topic, execution_id, slot.task_id, 0, "schedule", scheduled_for, reason=slot.reason)

    def _record_missed(self, slot: Slot) -> None:
        """One row for all the slots given up, so that a long outage costs no more than a short one."""
        until = "the newest of them" if slot.action == "none" else "the one that runs"
        reason = (
            f"{slot.missed} slots passed unserved before {until}; the first was {format_rfc3339(slot.missed_from_us)}"
        )
        first = format_rfc3339(slot.missed_from_us)
        record_unserved(self._unit, "missed", slot.task_id, first, reason, slot.missed)

    def _announce_finished(self, task_id: str) -> None:
        task = self._unit.task(task_id)
        if task is not None:
            self._unit.changed(task)
            self._unit.task_event(names.TASK_FINISHED, task, "aico-sched")

    def deferred(self, task_id: str, scheduled_for_us: int, reason: str) -> None:
        """Tell the world that a start is put off; the slot stays due."""
        self._event(
            names.EXECUTION_DEFERRED, "", task_id, 0, "schedule", format_rfc3339(scheduled_for_us), reason=reason
        )

    # Runs that wait.

    def start_waiting(self, execution_id: str) -> bool:
        """Claim an execution whose time has come; false if it does not wait any more, or its task is gone."""
        execution = self._database.one("start_waiting", (self._unit.now, self._unit.boot_id, execution_id))
        if execution is None:
            return False
        task_id, attempt, trigger, scheduled_for = execution
        task = TaskRow(*self._database.run("task_even_deleted", (task_id,))[0])
        row = (task.task_class, task.config, task.options, task.created_by, task.created_role)
        self._start(execution_id, task_id, attempt, trigger, scheduled_for, row)
        return True

    def enqueue(self, task_id: str, trigger: str, scheduled_for: str, priority: int, *, blocked: bool = False) -> str:
        """A new waiting execution; a blocked one starts when the task's running one ends."""
        execution_id = self._unit.new_execution_id()
        run_at = None if blocked else self._unit.now
        self._insert(task_id, execution_id, "queued", trigger, scheduled_for, run_at=run_at, priority=priority)
        if blocked:
            self._blocked.add(task_id)
        else:
            self._announce_run(execution_id, task_id, self._unit.now_us, priority)
        return execution_id

    def _announce_run(self, execution_id: str, task_id: str, run_at_us: int, priority: int) -> None:
        task = self._unit.task(task_id)
        idle_only = bool(task is not None and decoded(task.options).get("idle_only"))
        self._unit.said.due_runs.append(DueRun(execution_id, task_id, run_at_us, priority, idle_only))

    def _unblock(self, task_id: str) -> None:
        """A run of the task has ended: let the oldest one that waits for it go, unless another still runs."""
        if task_id not in self._blocked:
            return
        active = self._database.run("active_executions", (task_id,))
        if not active or any(status != "queued" or run_at is not None for _, status, run_at in active):
            return
        following = self._database.one("next_blocked", (task_id,))
        if following is None:
            self._blocked.discard(task_id)
            return
        row = self._database.one("unblock", (self._unit.now, following[0]))
        if row is not None:
            self._announce_run(row[0], row[1], self._unit.now_us, row[2])

    # How attempts end.

    def attempt_ended(self, end: AttemptEnd) -> None:
        """Record an attempt and move its execution on. An attempt that was recorded before changes nothing."""
        if end.outcome == "succeeded":
            self._finish(end, "succeeded")
            return
        row = self._database.one("execution", (end.execution_id,))
        if row is None:
            return
        execution = ExecutionRow(*row)
        if execution.status != "running" or execution.attempt != end.attempt:
            return
        task = TaskRow(*self._database.run("task_even_deleted", (execution.task_id,))[0])
        options = decoded(task.options)
        attempts_left = end.attempt < self._unit.defaults.retry(options)["max_attempts"] and task.deleted_at is None
        status = status_after(
            end.outcome,
            retry=bool(end.retry_at_us) and attempts_left,
            attempts_left=attempts_left,
            delivery=options.get("delivery", "at_least_once"),
        )
        if status in ("retrying", "queued"):
            self._wait_again(execution, end, status)
        else:
            self._finish(end, status)
        if status == "dead":
            self._bury(execution, end, task.config)

    def _record_attempt(self, end: AttemptEnd) -> None:
        self._database.run(
            "insert_attempt",
            (
                end.execution_id,
                end.attempt,
                end.outcome,
                format_rfc3339(end.started_us),
                format_rfc3339(end.completed_us),
                end.error_type,
                end.error_message,
                end.traceback,
            ),
        )

    def _finish(self, end: AttemptEnd, status: str) -> None:
        """Move a running execution to a final state, unless it is there already."""
        row = self._database.one(
            "finish_execution",
            (
                status,
                format_rfc3339(end.completed_us),
                int(status == "succeeded"),
                (end.completed_us - end.started_us) / 1_000_000,
                end.result,
                end.error_message,
                end.reason,
                end.execution_id,
                end.attempt,
            ),
        )
        if row is None:
            return
        task_id, trigger, scheduled_for = row
        self._record_attempt(end)
        self._outcome_event(end, task_id, trigger, scheduled_for)
        self._run_over(task_id, end.completed_us)

    def _run_over(self, task_id: str, at_us: int) -> None:
        """A run of the task has come to its end: what waited for that goes on."""
        self._unblock(task_id)
        self._fixed_delay.follow(task_id, at_us)

    def _wait_again(self, execution: ExecutionRow, end: AttemptEnd, status: str) -> None:
        run_at_us = end.retry_at_us if status == "retrying" else self._unit.now_us
        self._database.run(
            "retry_execution",
            (status, format_rfc3339(run_at_us), end.error_message, end.reason, end.execution_id, end.attempt),
        )
        self._record_attempt(end)
        self._outcome_event(end, execution.task_id, execution.trigger, execution.scheduled_for)
        if status == "retrying":
            self._event(
                names.EXECUTION_RETRYING,
                *self._identity(execution),
                retry_at=format_rfc3339(run_at_us),
                error_message=end.error_message,
            )
        self._announce_run(execution.execution_id, execution.task_id, run_at_us, execution.priority)

    def _bury(self, execution: ExecutionRow, end: AttemptEnd, config: str) -> None:
        reason = end.error_message or end.reason or end.outcome
        self._database.run("insert_dead", (execution.execution_id, execution.task_id, self._unit.now, reason, config))
        self._event(
            names.EXECUTION_DEAD,
            *self._identity(execution),
            error_type=end.error_type,
            error_message=end.error_message,
            reason=end.reason,
        )

    def _outcome_event(self, end: AttemptEnd, task_id: str, trigger: str, scheduled_for: str) -> None:
        self._event(
            OUTCOME_EVENTS[end.outcome],
            end.execution_id,
            task_id,
            end.attempt,
            trigger,
            scheduled_for,
            started_at=format_rfc3339(end.started_us),
            completed_at=format_rfc3339(end.completed_us),
            duration_seconds=(end.completed_us - end.started_us) / 1_000_000,
            result=decoded(end.result) if end.result else None,
            error_type=end.error_type,
            error_message=end.error_message,
            reason=end.reason,
        )

    def progressed(self, progress: AttemptProgress) -> None:
        """Keep and publish a running attempt's latest word."""
        text = compact(progress.progress)
        row = self._database.one("set_progress", (text, progress.execution_id, progress.attempt))
        if row is not None:
            task_id, trigger, scheduled_for = row
            self._event(
                names.EXECUTION_PROGRESS,
                progress.execution_id,
                task_id,
                progress.attempt,
                trigger,
                scheduled_for,
                progress=progress.progress,
            )

    # Commands.

    def trigger(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Run a task now, whatever its schedule says; `next_run` stays. While it runs, the new run waits."""
        task = self._tasks.require(payload["task_id"])
        if not task.available:
            message = f"{task.task_id} cannot run: {task.note or 'its task class is not available'}"
            raise CommandError(ErrorCode.UNKNOWN_TASK_CLASS, message, field="task_id", task_class=task.task_class)
        overlap = decoded(task.options).get("overlap", "skip")
        active = self._database.run("active_executions", (task.task_id,)) if overlap != "allow" else []
        if len(active) > MAX_QUEUED:
            message = f"{task.task_id} has {MAX_QUEUED} runs waiting already"
            raise CommandError(ErrorCode.RATE_LIMITED, message, field="task_id")
        execution_id = self.enqueue(task.task_id, "manual", self._unit.now, task.priority, blocked=bool(active))
        return {"execution_id": execution_id, "task_id": task.task_id}

    def backfill(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Queue a run for each slot of a past range; all of them or, if there are too many, none."""
        task = self._tasks.require(payload["task_id"])
        schedule = parse_schedule(task.schedule, task.timezone)
        start, end = parse_rfc3339(payload["start"]), min(parse_rfc3339(payload["end"]), self._unit.now_us)
        anchor, limit = parse_rfc3339(task.anchor), payload.get("max_runs", 100)
        slots: list[int] = []
        slot = schedule.next_after(start - 1, min(anchor, start - 1) if schedule.kind != "interval" else anchor)
        while slot is not None and slot <= end:
            slots.append(slot)
            if len(slots) > limit:
                message = f"the range holds more than {limit} slots; narrow it, or raise max_runs (at most 1000)"
                raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="max_runs")
            slot = schedule.next_after(slot, anchor)
        allow = payload.get("overlap", "queue") == "allow"
        busy = bool(self._database.run("active_executions", (task.task_id,)))
        ids = []
        for position, slot in enumerate(slots):
            blocked = not allow and (busy or position > 0)
            ids.append(self.enqueue(task.task_id, "backfill", format_rfc3339(slot), task.priority, blocked=blocked))
        return {"task_id": task.task_id, "execution_ids": ids}

    def cancel(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Drop a waiting execution, or ask the executor to end a running one."""
        execution_id = payload["execution_id"]
        row = self._database.one("execution", (execution_id,))
        if row is None:
            message = f"there is no execution {execution_id}"
            raise CommandError(ErrorCode.EXECUTION_NOT_FOUND, message, field="execution_id")
        execution = ExecutionRow(*row)
        reason = payload.get("reason") or f"cancelled by {sender.source}"
        if execution.status == "running":
            self._unit.said.cancels.append(AttemptCancel(execution_id, "cancelled", reason))
            return {"execution_id": execution_id, "status": "cancelling"}
        if not cancel_waiting(self._unit, execution_id, reason):
            message = f"the execution {execution_id} has ended already: {execution.status}"
            raise CommandError(ErrorCode.CONFLICT, message, field="execution_id", status=execution.status)
        self._run_over(execution.task_id, self._unit.now_us)
        return {"execution_id": execution_id, "status": "cancelled"}

    def requeue(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Give a dead execution one more attempt, keeping the history of those it had."""
        execution_id, task_id = self._dead(payload["execution_id"])
        task = self._tasks.require(task_id)
        active = self._database.run("active_executions", (task_id,))
        run_at = None if active else self._unit.now
        reason = f"requeued by {sender.source}"
        self._database.run("revive", (run_at, reason, execution_id, "dead"))
        self._unit.recent.forget(execution_id)
        self._database.run("delete_dead", (execution_id,))
        if run_at is None:
            self._blocked.add(task_id)
        else:
            self._announce_run(execution_id, task_id, self._unit.now_us, priority_of(task_id, decoded(task.options)))
        return {"execution_id": execution_id, "task_id": task_id}

    def discard(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Drop a dead letter; the execution stays in the history."""
        execution_id, task_id = self._dead(payload["execution_id"])
        self._database.run("delete_dead", (execution_id,))
        return {"execution_id": execution_id, "task_id": task_id}

    def _dead(self, execution_id: str) -> tuple[str, str]:
        row = self._database.one("dead", (execution_id,))
        if row is None:
            message = f"there is no dead letter {execution_id}"
            raise CommandError(ErrorCode.EXECUTION_NOT_FOUND, message, field="execution_id")
        return row[0], row[1]

    def _cancel_all(self, active: list[tuple[Any, ...]], reason: str) -> None:
        for execution_id, status, _ in active:
            if status == "running":
                self._unit.said.cancels.append(AttemptCancel(execution_id, "cancelled", reason))
            else:
                cancel_waiting(self._unit, execution_id, reason)

    # Small tools.

    def _insert(
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

    def _identity(self, execution: ExecutionRow) -> tuple[str, str, int, str, str]:
        return (
            execution.execution_id,
            execution.task_id,
            execution.attempt,
            execution.trigger,
            execution.scheduled_for,
        )

    def _event(
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
        body.update((name, value) for name, value in more.items() if value is not None)
        self._unit.execution_event(topic, body)
