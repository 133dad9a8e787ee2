"""The contract as data: every public topic with its payload and result models.

The bridge validates against it, access control and the AsyncAPI document are made from it, and a test walks it.
"""

from typing import NamedTuple

from aico_sched.topics import commands, names, views
from aico_sched.topics.commands import Payload


class Command(NamedTuple):
    """A request topic. A `mutates` command is remembered by its message id, so that a repeat changes nothing."""

    topic: str
    payload: type[Payload]
    result: type[Payload]
    mutates: bool


class Event(NamedTuple):
    """A topic the service publishes. A `durable` event is numbered by `seq` and can be listed later."""

    topic: str
    payload: type[Payload]
    durable: bool


COMMANDS: dict[str, Command] = {
    command.topic: command
    for command in (
        Command(names.TASK_CREATE, commands.TaskCreate, views.TaskView, True),
        Command(names.TASK_UPDATE, commands.TaskUpdate, views.TaskView, True),
        Command(names.TASK_DELETE, commands.TaskDelete, views.TaskView, True),
        Command(names.TASK_ENABLE, commands.TaskRef, views.TaskView, True),
        Command(names.TASK_DISABLE, commands.TaskRef, views.TaskView, True),
        Command(names.TASK_PAUSE, commands.TaskNote, views.TaskView, True),
        Command(names.TASK_RESUME, commands.TaskNote, views.TaskView, True),
        Command(names.TASK_TRIGGER, commands.TaskRef, views.ExecutionStarted, True),
        Command(names.TASK_BACKFILL, commands.TaskBackfill, views.BackfillView, True),
        Command(names.TASK_STATUS, commands.TaskStatus, views.TaskStatusView, False),
        Command(names.TASK_LIST, commands.TaskList, views.TaskPage, False),
        Command(names.EXECUTION_LIST, commands.ExecutionList, views.ExecutionPage, False),
        Command(names.EXECUTION_CANCEL, commands.ExecutionCancel, views.CancelView, True),
        Command(names.DEAD_LIST, commands.DeadList, views.DeadPage, False),
        Command(names.DEAD_REQUEUE, commands.DeadRef, views.ExecutionStarted, True),
        Command(names.DEAD_DISCARD, commands.DeadRef, views.ExecutionStarted, True),
        Command(names.SCHEDULE_EXPLAIN, commands.ScheduleExplain, views.ExplainView, False),
        Command(names.REGISTRY_LIST, commands.Empty, views.RegistryView, False),
        Command(names.REGISTRY_RELOAD, commands.Empty, views.RegistryReloadView, False),
        Command(names.EVENT_LIST, commands.EventList, views.EventPage, False),
        Command(names.AUDIT_LIST, commands.AuditList, views.AuditPage, False),
        Command(names.STORE_VACUUM, commands.StoreVacuum, views.VacuumView, True),
        Command(names.STORE_CHECK, commands.Empty, views.CheckView, True),
        Command(names.STORE_BACKUP, commands.StoreBackup, views.BackupView, True),
        Command(names.STORE_REKEY, commands.Empty, views.RekeyView, True),
        Command(names.STATS, commands.Empty, views.StatsView, False),
        Command(names.STATS_HISTORY, commands.Empty, views.HistoryView, False),
        Command(names.HEALTH, commands.Empty, views.HealthView, False),
    )
}

_TASK_EVENTS = (
    names.TASK_CREATED,
    names.TASK_UPDATED,
    names.TASK_DELETED,
    names.TASK_ENABLED,
    names.TASK_DISABLED,
    names.TASK_PAUSED,
    names.TASK_RESUMED,
    names.TASK_UNAVAILABLE,
    names.TASK_AVAILABLE,
    names.TASK_FINISHED,
)
_EXECUTION_EVENTS = (
    names.EXECUTION_STARTED,
    names.EXECUTION_PROGRESS,
    names.EXECUTION_SUCCEEDED,
    names.EXECUTION_FAILED,
    names.EXECUTION_RETRYING,
    names.EXECUTION_TIMED_OUT,
    names.EXECUTION_CANCELLED,
    names.EXECUTION_SKIPPED,
    names.EXECUTION_MISSED,
    names.EXECUTION_DEFERRED,
    names.EXECUTION_INTERRUPTED,
    names.EXECUTION_DEAD,
)

EVENTS: dict[str, Event] = {
    event.topic: event
    for event in (
        *(Event(topic, views.TaskEvent, True) for topic in _TASK_EVENTS),
        *(Event(topic, views.ExecutionEvent, True) for topic in _EXECUTION_EVENTS),
        Event(names.EXECUTION_LOGGED, views.ExecutionLogEvent, False),
        Event(names.ALERT, views.AlertEvent, True),
        Event(names.BREAKER, views.BreakerEvent, True),
        Event(names.AVAILABILITY, views.AvailabilityEvent, False),
    )
}
