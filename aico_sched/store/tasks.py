"""The commands that change a task definition. Each runs inside the store's transaction, under a savepoint."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from aico_sched.json_text import compact_plain, decoded
from aico_sched.planning import check_group, check_options, checked_schedule, priority_of
from aico_sched.redaction import restored
from aico_sched.schedule import format_rfc3339, parse_rfc3339
from aico_sched.store.records import TaskRow
from aico_sched.store.timing import (
    canonical,
    first_or_refuse,
    next_from_now,
    rescheduled,
    retimed,
    waiting,
    waiting_for,
)
from aico_sched.store.unit import Unit
from aico_sched.store.unserved import give_up_due
from aico_sched.topics import names
from aico_sched.topics.commands import TaskOptions
from aico_sched.topics.errors import CommandError, ErrorCode
from aico_sched.topics.internal import AttemptCancel

_BEHAVIOUR = frozenset({"task_class", "config", "environment"})
"""What decides how a task behaves: when it changes, what it did before says nothing any more."""

_OF_STARTS = frozenset(
    {"idle_only", "group", "max_instances", "max_defer", "on_max_defer", "environment", "task_class"}
)
"""What the scheduler looks at before it starts a run that waits (`internal.DueRun`)."""

OPTION_NAMES = frozenset(TaskOptions.model_fields) - {"timezone"}


class Catalogue(Protocol):
    """What the store needs to know of task classes; raises `CommandError` for what cannot be."""

    def check(self, task_class: str, config: Mapping[str, Any]) -> dict[str, Any]:
        """The validated configuration, or an error naming the field."""

    def options_of(self, task_class: str) -> Mapping[str, Any]:
        """The class's own defaults for `TaskOptions`."""

    def known(self, task_class: str) -> bool:
        """Whether the class can be run now."""

    def may_register(self, role: str, task_id: str, task_class: str) -> None:
        """Raises `permission_denied` unless a sender of that role may have such a task."""


class Sender(NamedTuple):
    """Who asks."""

    source: str
    role: str


SERVICE = Sender("aico-sched", "service")


class NewTask(NamedTuple):
    """A task that is to be created, and what its creator should know about its schedule."""

    task: TaskRow
    warnings: tuple[str, ...]


class TaskCommands:
    """Creates, changes and deletes tasks."""

    def __init__(self, unit: Unit, catalogue: Catalogue) -> None:
        self._unit, self._catalogue = unit, catalogue

    def create(self, payload: Mapping[str, Any], sender: Sender, *, protected: bool = False) -> dict[str, Any]:
        """A new task. `task_exists` if a live one has its id."""
        return self.add(self.prepare(payload, sender, protected=protected))

    def prepare(self, payload: Mapping[str, Any], sender: Sender, *, protected: bool = False) -> NewTask:
        """The task as it will be; reads nothing of the database. Raises what `create` raises, but `task_exists`."""
        task_id = payload["task_id"]
        task_class = payload.get("task_class") or task_id
        self._catalogue.may_register(sender.role, task_id, task_class)
        config = self._catalogue.check(task_class, payload.get("config", {}))
        options = {**self._catalogue.options_of(task_class), **_options(payload)}
        timezone = payload.get("timezone") or self._unit.defaults.timezone
        schedule = checked_schedule(payload["schedule"], timezone)
        check_options(schedule, options)
        check_group(options, self._unit.defaults.groups)
        self._unit.followers.check(task_id, schedule)
        enabled = payload.get("enabled", True)
        slot = first_or_refuse(schedule, options, self._unit.now_us, self._unit.now_us)
        next_run, due_at = waiting(task_id, options, slot if enabled else None)
        task = TaskRow(
            task_id=task_id,
            task_class=task_class,
            schedule=canonical(schedule),
            config=_json(config),
            enabled=int(enabled),
            created_at=self._unit.now,
            updated_at=self._unit.now,
            last_run=None,
            next_run=next_run,
            timezone=timezone,
            options=compact_plain(options),
            anchor=self._unit.now,
            priority=priority_of(task_id, options),
            paused=0,
            available=1,
            finished=0,
            protected=int(protected),
            note=None,
            created_by=sender.source,
            created_role=sender.role,
            run_count=0,
            revision=1,
            deleted_at=None,
            due_at=due_at,
        )
        return NewTask(task, schedule.warnings)

    def add(self, new: NewTask) -> dict[str, Any]:
        """Keep a new task, in its own row or anew in that of a deleted task of its id: its history refers to it."""
        if self._unit.database.one("insert_task", new.task):
            return self.added(new)
        revived = self._unit.database.one("forget_deleted", (*new.task[:21], new.task.due_at))
        if revived is None:
            task_id = new.task.task_id
            message = f"a task named {task_id} exists already; update it, or choose another task_id"
            raise CommandError(ErrorCode.TASK_EXISTS, message, field="task_id", task_id=task_id)
        return self.added(NewTask(new.task._replace(revision=revived[0]), new.warnings))

    def added(self, new: NewTask) -> dict[str, Any]:
        """Tell of a task whose row has been written; returns its view."""
        self._unit.created(new.task)
        self._unit.task_event(names.TASK_CREATED, new.task, new.task.created_by)
        return new.task.view(new.warnings)

    def update(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Change the fields that are present; null resets one to its default."""
        task = self.require(payload["task_id"])
        self._check_revision(task, payload)
        options = _merged(task.view()["options"], payload)
        task_class = payload.get("task_class") or task.task_class
        self._catalogue.may_register(sender.role, task.task_id, task_class)
        config = task.config
        if "config" in payload or task_class != task.task_class:
            kept = decoded(task.config)
            # Who changes what was shown sends the places of its secrets back.
            given = restored(payload.get("config") or {}, kept) if "config" in payload else kept
            config = _json(self._catalogue.check(task_class, given))
        timezone = task.timezone
        if "timezone" in payload:
            timezone = payload["timezone"] or self._unit.defaults.timezone
        changed = task._replace(
            task_class=task_class,
            schedule=task.schedule,
            config=config,
            timezone=timezone,
            options=compact_plain(options),
            priority=priority_of(task.task_id, options),
            available=int(self._catalogue.known(task_class)),
        )
        schedule = checked_schedule(payload.get("schedule") or task.schedule, timezone)
        check_options(schedule, options)
        check_group(options, self._unit.defaults.groups)
        self._unit.followers.check(task.task_id, schedule)
        if not _BEHAVIOUR.isdisjoint(payload):
            # First, so that the scheduler hears where it runs from now on.
            self._unit.moved.forget(task.task_id)
        updated = self._save(retimed(self._unit, task, changed, schedule))
        if not _OF_STARTS.isdisjoint(payload):
            self.tell_of_waiting_runs(task.task_id)
        self._unit.task_event(names.TASK_UPDATED, updated, sender.source)
        return updated.view(schedule.warnings)

    def tell_of_waiting_runs(self, task_id: str) -> None:
        """What a task wants of its starts has changed, or where it runs, or its class is back: waiting runs too."""
        for execution_id, run_at, priority in self._unit.database.run("waiting_starts", (task_id,)):
            run = self._unit.due_run(execution_id, task_id, parse_rfc3339(run_at), priority)
            self._unit.said.due_runs.append(run)

    def enable(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Let the schedule fire again; strikes are forgotten."""
        self._unit.moved.forget(payload["task_id"])
        return self._switch(payload, sender, names.TASK_ENABLED, enabled=1, note=None)

    def disable(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Stop the schedule until it is enabled; what runs goes on."""
        return self._switch(payload, sender, names.TASK_DISABLED, enabled=0)

    def disable_for(self, task: TaskRow, note: str) -> None:
        """Stop the schedule on the service's own account; `note` says why."""
        self._switch({"task_id": task.task_id}, SERVICE, names.TASK_DISABLED, enabled=0, note=note)

    def pause(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Stop the schedule for a while, with a note that says why."""
        return self._switch(payload, sender, names.TASK_PAUSED, paused=1, note=payload.get("note"))

    def resume(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """End a pause; slots that passed meanwhile are not made up for."""
        return self._switch(payload, sender, names.TASK_RESUMED, paused=0, note=payload.get("note"))

    def delete(self, payload: Mapping[str, Any], sender: Sender) -> dict[str, Any]:
        """Remove a task: what waits is cancelled, what runs is ended, its history stays."""
        task = self.require(payload["task_id"])
        self._catalogue.may_register(sender.role, task.task_id, task.task_class)
        if task.protected:
            message = f"{task.task_id} is a system task and cannot be deleted; disable it instead"
            raise CommandError(ErrorCode.PROTECTED_TASK, message, field="task_id", task_id=task.task_id)
        schedule = checked_schedule(task.schedule, task.timezone)
        give_up_due(self._unit, task, schedule, "the task was deleted before it could run")
        deleted = self._save(waiting_for(task._replace(deleted_at=self._unit.now), None))
        self._end_runs(task.task_id)
        self._unit.moved.forget(task.task_id)
        self._unit.task_event(names.TASK_DELETED, deleted, sender.source)
        return deleted.view()

    def check_removable(self, task_class: str, code_file: Path | None) -> None:
        """Raises unless the code of a class is in a file of its own that no task needs any more."""
        if code_file is None:
            message = f"{task_class} has no code file of its own in the user-task folder; leave remove_code out"
            raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="remove_code")
        others = [row for here in (1, 0) for row in self._unit.database.run("tasks_of_class", (task_class, here))]
        if others:
            message = f"the code of {task_class} is needed by {others[0][0]}; leave remove_code out"
            raise CommandError(ErrorCode.CONFLICT, message, field="remove_code")

    def require(self, task_id: str) -> TaskRow:
        """The live task, or `task_not_found`."""
        task = self._unit.task(task_id)
        if task is None:
            raise CommandError(
                ErrorCode.TASK_NOT_FOUND, f"there is no task named {task_id}", field="task_id", task_id=task_id
            )
        return task

    def _switch(self, payload: Mapping[str, Any], sender: Sender, event: str, **flags: Any) -> dict[str, Any]:
        """Set flags; setting what is set already changes nothing and publishes nothing."""
        task = self.require(payload["task_id"])
        self._catalogue.may_register(sender.role, task.task_id, task.task_class)
        changed = task._replace(**flags)
        if changed == task:
            return task.view()
        if changed.runnable != task.runnable:
            schedule = checked_schedule(task.schedule, task.timezone)
            changed = rescheduled(self._unit, task, changed, schedule, "the task was stopped before it could run")
        updated = self._save(changed)
        self._unit.task_event(event, updated, sender.source)
        return updated.view()

    def park(self, task: TaskRow, problem: str | None) -> None:
        """Its class is gone (`problem` says how) or has come back (None). Runs that wait do so until it is back."""
        changed = task._replace(available=int(problem is None), note=problem)
        schedule = checked_schedule(task.schedule, task.timezone)
        updated = self._save(rescheduled(self._unit, task, changed, schedule, problem or "its task class was missing"))
        if problem is None:
            self.tell_of_waiting_runs(task.task_id)
        event = names.TASK_AVAILABLE if problem is None else names.TASK_UNAVAILABLE
        self._unit.task_event(event, updated, "aico-sched")

    def resumed(self, task: TaskRow) -> TaskRow:
        """The task with a next run after all: what should have been its last run did not take place."""
        return self._save(next_from_now(self._unit, task, checked_schedule(task.schedule, task.timezone)))

    def moved(self, task: TaskRow, slot: int | None, anchor_us: int) -> None:
        """Let the task wait for another slot: the clock that named the old one was wrong."""
        finished = int(slot is None)
        self._save(waiting_for(task._replace(anchor=format_rfc3339(anchor_us), finished=finished), slot))

    def _save(self, task: TaskRow) -> TaskRow:
        row = self._unit.database.one(
            "update_task",
            (
                task.task_class,
                task.schedule,
                task.config,
                task.enabled,
                self._unit.now,
                task.next_run,
                task.timezone,
                task.options,
                task.anchor,
                task.priority,
                task.paused,
                task.available,
                task.finished,
                task.note,
                task.deleted_at,
                task.due_at,
                task.task_id,
                task.revision,
            ),
        )
        assert row is not None, "the store is the only writer, and the row was read in this transaction"
        saved = TaskRow(*row)
        self._unit.changed(saved)
        return saved

    def _check_revision(self, task: TaskRow, payload: Mapping[str, Any]) -> None:
        expected = payload.get("revision")
        if expected is not None and expected != task.revision:
            message = f"{task.task_id} has revision {task.revision} by now, not {expected}; read it again"
            raise CommandError(ErrorCode.CONFLICT, message, field="revision", revision=task.revision)

    def _end_runs(self, task_id: str) -> None:
        reason = "the task was deleted"
        for (execution_id,) in self._unit.database.run("waiting_of_task", (task_id,)):
            cancel_waiting(self._unit, execution_id, reason)
        for (execution_id,) in self._unit.database.run("running_of_task", (task_id,)):
            self._unit.said.cancels.append(AttemptCancel(execution_id, "cancelled", reason))


def cancel_waiting(unit: Unit, execution_id: str, reason: str) -> bool:
    """Drop an execution that waits; false if it does not wait (any more)."""
    row = unit.database.one("cancel_waiting", (unit.now, reason, execution_id))
    if row is None:
        return False
    task_id, trigger, scheduled_for, attempt = row
    unit.execution_event(
        names.EXECUTION_CANCELLED,
        {
            "execution_id": execution_id,
            "task_id": task_id,
            "attempt": attempt,
            "trigger": trigger,
            "scheduled_for": scheduled_for,
            "reason": reason,
        },
    )
    return True


def _options(payload: Mapping[str, Any]) -> dict[str, Any]:
    """The options that were given a value, as JSON keeps them."""
    return {name: value for name, value in payload.items() if value is not None and name in OPTION_NAMES}


def _merged(options: dict[str, Any], payload: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in options.items() if name not in payload}
    return {**kept, **_options(payload)}


def _json(config: Mapping[str, Any]) -> str:
    try:
        return compact_plain(config)
    except ValueError as error:
        message = f"the configuration cannot be kept as JSON: {error}"
        raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="config") from error
