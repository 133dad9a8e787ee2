"""Rows of the two main tables, and how they look from outside (`topics.views`)."""

from typing import Any, NamedTuple

from aico_sched.json_text import decoded
from aico_sched.redaction import shown
from aico_sched.schedule import read_rfc3339
from aico_sched.topics.internal import DueTask


class TaskRow(NamedTuple):
    """A row of `scheduled_tasks`, columns in the table's order."""

    task_id: str
    task_class: str
    schedule: str
    config: str
    enabled: int
    created_at: str
    updated_at: str
    last_run: str | None
    next_run: str | None
    timezone: str
    options: str
    anchor: str
    priority: int
    paused: int
    available: int
    finished: int
    protected: int
    note: str | None
    created_by: str
    created_role: str
    run_count: int
    revision: int
    deleted_at: str | None
    due_at: str | None

    @property
    def state(self) -> str:
        """The one word for its flags; also in the query `list_tasks`."""
        if not self.available:
            return "unavailable"
        if not self.enabled:
            return "disabled"
        if self.paused:
            return "paused"
        return "finished" if self.finished else "active"

    @property
    def runnable(self) -> bool:
        """Whether its schedule fires."""
        return bool(self.enabled and self.available and not self.paused and self.deleted_at is None)

    def view(self, warnings: tuple[str, ...] = ()) -> dict[str, Any]:
        """As `topics.views.TaskView`."""
        return {
            "task_id": self.task_id,
            "task_class": self.task_class,
            "schedule": self.schedule,
            "timezone": self.timezone,
            "config": shown(self.config),
            "options": decoded(self.options),
            "state": self.state,
            "note": self.note,
            "enabled": bool(self.enabled),
            "protected": bool(self.protected),
            "created_by": self.created_by,
            "created_at": self.created_at,
            "updated_at": self.updated_at,
            "last_run": self.last_run,
            "next_run": self.next_run,
            "run_count": self.run_count,
            "revision": self.revision,
            "warnings": list(warnings),
        }

    def due(self) -> DueTask:
        """As the scheduler's near horizon keeps it; only for tasks that have a next run."""
        assert self.next_run is not None
        return DueTask(
            self.task_id,
            self.revision,
            read_rfc3339(self.next_run),
            self.schedule,
            self.timezone,
            read_rfc3339(self.anchor),
            self.priority,
            decoded(self.options),
            self.run_count,
        )


class ExecutionRow(NamedTuple):
    """A row of `task_executions`, columns in the table's order."""

    id: int
    task_id: str
    execution_id: str
    started_at: str | None
    completed_at: str | None
    success: int | None
    duration_seconds: float | None
    result: str | None
    error_message: str | None
    retry_count: int
    status: str
    trigger: str
    scheduled_for: str
    run_at: str | None
    attempt: int
    priority: int
    reason: str | None
    progress: str | None
    missed_count: int | None
    boot_id: str | None
    cause: str | None = None
    usage: str | None = None
    traceparent: str | None = None

    def view(self) -> dict[str, Any]:
        """As `topics.views.ExecutionView`, without the attempts."""
        return {
            "execution_id": self.execution_id,
            "task_id": self.task_id,
            "trigger": self.trigger,
            "status": self.status,
            "scheduled_for": self.scheduled_for,
            "run_at": self.run_at,
            "started_at": self.started_at,
            "completed_at": self.completed_at,
            "duration_seconds": self.duration_seconds,
            "attempt": self.attempt,
            "retry_count": self.retry_count,
            "result": _decoded(self.result),
            "error_message": self.error_message,
            "reason": self.reason,
            "progress": _decoded(self.progress),
            "missed_count": self.missed_count,
            "usage": _decoded(self.usage),
            "cause": _decoded(self.cause),
        }


class AttemptRow(NamedTuple):
    """A row of `task_attempts`."""

    execution_id: str
    attempt: int
    outcome: str
    started_at: str
    completed_at: str
    error_type: str | None
    error_message: str | None
    traceback: str | None
    usage: str | None = None
    logs: str | None = None

    def view(self) -> dict[str, Any]:
        """As `topics.views.AttemptView`."""
        shown = {name: value for name, value in self._asdict().items() if name != "execution_id"}
        shown["usage"], shown["logs"] = _decoded(self.usage), _decoded(self.logs)
        return shown


class DeadRow(NamedTuple):
    """A row of `scheduler_dead_letters`, with what its task and its execution say of it."""

    execution_id: str
    task_id: str
    died_at: str
    reason: str
    config: str
    task_class: str
    trigger: str
    scheduled_for: str


def _decoded(text: str | None) -> Any:
    return None if text is None else decoded(text)
