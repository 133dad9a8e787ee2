"""Which method of the store carries out which command."""

from aico_sched.topics import names

TASK_CHANGES = {
    names.TASK_CREATE: "create",
    names.TASK_UPDATE: "update",
    names.TASK_DELETE: "delete",
    names.TASK_ENABLE: "enable",
    names.TASK_DISABLE: "disable",
    names.TASK_PAUSE: "pause",
    names.TASK_RESUME: "resume",
}
"""Methods of `TaskCommands`."""

RUN_CHANGES = {
    names.TASK_TRIGGER: "trigger",
    names.TASK_BACKFILL: "backfill",
    names.EXECUTION_CANCEL: "cancel",
    names.DEAD_REQUEUE: "requeue",
    names.DEAD_DISCARD: "discard",
}
"""Methods of `RunCommands`."""

READS = {
    names.TASK_LIST: "tasks",
    names.EXECUTION_LIST: "executions",
    names.DEAD_LIST: "dead",
    names.EVENT_LIST: "events",
}
"""Methods of `History`."""
