"""The commands that start, end or revive executions."""

from collections.abc import Mapping
from typing import Any

from aico_sched.json_text import decoded
from aico_sched.planning import MAX_QUEUED, priority_of
from aico_sched.schedule import format_rfc3339, parse_rfc3339, parse_schedule
from aico_sched.store.executions import Executions
from aico_sched.store.records import ExecutionRow
from aico_sched.store.tasks import Sender, TaskCommands, cancel_waiting
from aico_sched.store.unit import Unit
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import AttemptCancel


class RunCommands:
    """Each runs inside the store's transaction, under a savepoint."""

    def __init__(self, unit: Unit, tasks: TaskCommands, executions: Executions) -> None:
        self._unit, self._tasks, self._executions = unit, tasks, executions
        self._database = unit.database

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
        execution_id = self._executions.enqueue(
            task.task_id, "manual", self._unit.now, task.priority, blocked=bool(active)
        )
        return {"execution_id": execution_id, "task_id": task.task_id}

    def backfill(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Queue a run for each slot of a past range; all of them or, if there are too many, none."""
        task = self._tasks.require(payload["task_id"])
        schedule = parse_schedule(task.schedule, task.timezone)
        start, end = parse_rfc3339(payload["start"]), parse_rfc3339(payload["end"])
        if end < start:
            raise CommandError(ErrorCode.INVALID_MESSAGE, "the range ends before it starts", field="end")
        end = min(end, self._unit.now_us)
        anchor, limit = parse_rfc3339(task.anchor), payload.get("max_runs", 100)
        slots: list[int] = []
        slot = schedule.next_after(start - 1, anchor)
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
            ids.append(
                self._executions.enqueue(task.task_id, "backfill", format_rfc3339(slot), task.priority, blocked=blocked)
            )
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
        self._executions.run_over(execution.task_id, self._unit.now_us)
        return {"execution_id": execution_id, "status": "cancelled"}

    def requeue(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Give a dead execution one more attempt, keeping the history of those it had."""
        execution_id, task_id = self._dead(payload["execution_id"])
        task = self._tasks.require(task_id)
        active = self._database.run("active_executions", (task_id,))
        run_at = None if active else self._unit.now
        reason = f"requeued by {sender.source}"
        self._database.run("revive", (run_at, reason, execution_id, "dead"))
        self._executions.belongs_to_trace(execution_id)
        self._unit.recent.forget(execution_id)
        self._database.run("delete_dead", (execution_id,))
        if run_at is None:
            self._executions.blocked.add(task_id)
        else:
            self._executions.announce_run(
                execution_id, task_id, self._unit.now_us, priority_of(task_id, decoded(task.options))
            )
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
