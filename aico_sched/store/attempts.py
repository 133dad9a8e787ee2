"""How attempts end: recording them, and moving their executions on."""

from collections.abc import Mapping
from typing import Any

from aico_sched.execution.states import OUTCOME_EVENTS, status_after
from aico_sched.json_text import compact_plain, decoded
from aico_sched.schedule import format_rfc3339
from aico_sched.store.executions import Executions
from aico_sched.store.followers import Followers
from aico_sched.store.records import ExecutionRow, TaskRow
from aico_sched.store.unit import Unit
from aico_sched.topics import names
from aico_sched.topics.internal import AttemptEnd

MOST_INTERRUPTIONS = 10
"""Times that a run may have been interrupted until it is given up: a task that takes the process down with it must not
do so for ever."""


class Attempts:
    """Takes in the ends of attempts; one that was recorded before changes nothing."""

    def __init__(self, unit: Unit, executions: Executions, followers: Followers) -> None:
        self._unit, self._executions, self._followers = unit, executions, followers
        self._database = unit.database

    def ended(self, end: AttemptEnd) -> None:
        """Record an attempt and move its execution on. An attempt that was recorded before changes nothing."""
        self._unit.traced(end.traceparent)
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
        attempts_left = task.deleted_at is None and self._attempts_left(end, options)
        status = status_after(
            end.outcome,
            retry=bool(end.retry_at_us) and attempts_left,
            attempts_left=attempts_left,
            delivery=options.get("delivery", "at_least_once"),
            lost=bool(end.usage and end.usage.get("lost")),
        )
        if status in ("retrying", "queued"):
            self._wait_again(execution, end, status)
        else:
            self._finish(end, status)
        if status == "dead":
            self._bury(execution, end, task.config)

    def _attempts_left(self, end: AttemptEnd, options: Mapping[str, Any]) -> bool:
        """Whether the run may go again. An interruption is no failure of the task's, so it has a limit of its own."""
        if end.outcome != "interrupted":
            return bool(end.attempt < self._unit.defaults.retry(options)["max_attempts"])
        before: int = self._database.run("count_interruptions", (end.execution_id,))[0][0]
        return before + 1 < MOST_INTERRUPTIONS

    def _record_attempt(self, end: AttemptEnd, usage: str | None) -> None:
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
                usage,
                compact_plain(end.logs) if end.logs else None,
            ),
        )

    def _finish(self, end: AttemptEnd, status: str) -> None:
        """Move a running execution to a final state, unless it is there already."""
        usage = compact_plain(end.usage) if end.usage else None
        row = self._database.one(
            "finish_execution",
            (
                status,
                # Until now it was the claim; the task's own code began a little later.
                format_rfc3339(end.started_us),
                format_rfc3339(end.completed_us),
                int(status == "succeeded"),
                (end.completed_us - end.started_us) / 1_000_000,
                end.result,
                end.error_message,
                end.reason,
                usage,
                end.execution_id,
                end.attempt,
            ),
        )
        if row is None:
            return
        task_id, trigger, scheduled_for = row
        self._record_attempt(end, usage)
        self.outcome_event(end, task_id, trigger, scheduled_for)
        self._executions.run_over(task_id, end.completed_us)
        if status == "succeeded":
            self._followers.succeeded(task_id, end.execution_id, end.result)

    def _wait_again(self, execution: ExecutionRow, end: AttemptEnd, status: str) -> None:
        run_at_us = end.retry_at_us if status == "retrying" else self._unit.now_us
        usage = compact_plain(end.usage) if end.usage else None
        self._database.run(
            "retry_execution",
            (status, format_rfc3339(run_at_us), end.error_message, end.reason, usage, end.execution_id, end.attempt),
        )
        self._record_attempt(end, usage)
        self.outcome_event(end, execution.task_id, execution.trigger, execution.scheduled_for)
        if status == "retrying":
            self._executions.event(
                names.EXECUTION_RETRYING,
                *identity(execution),
                retry_at=format_rfc3339(run_at_us),
                error_message=end.error_message,
            )
        self._executions.announce_run(execution.execution_id, execution.task_id, run_at_us, execution.priority)

    def _bury(self, execution: ExecutionRow, end: AttemptEnd, config: str) -> None:
        reason = end.error_message or end.reason or end.outcome
        self._database.run("insert_dead", (execution.execution_id, execution.task_id, self._unit.now, reason, config))
        self._executions.event(
            names.EXECUTION_DEAD,
            *identity(execution),
            error_type=end.error_type,
            error_message=end.error_message,
            reason=end.reason,
        )
        self._followers.failed(execution.task_id, execution.execution_id, reason, trigger=execution.trigger)

    def outcome_event(self, end: AttemptEnd, task_id: str, trigger: str, scheduled_for: str) -> None:
        """Tell how the attempt ended."""
        self._executions.event(
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


def identity(execution: ExecutionRow) -> tuple[str, str, int, str, str]:
    """What every event of an execution begins with, in the order of `Executions.event`."""
    return (
        execution.execution_id,
        execution.task_id,
        execution.attempt,
        execution.trigger,
        execution.scheduled_for,
    )
