"""Every operation of the API as data: which command of the contract a method and a path stand for.

The store's own (backup to a path, another key, vacuum, check) are not among them: files and keys of the machine are
handled on the machine, and a token in a browser should not be worth a file anywhere on its disk.
"""

from collections.abc import Mapping
from typing import Any, NamedTuple

from aico_sched.topics import names
from aico_sched.topics.errors import ErrorCode


class Operation(NamedTuple):
    """`fixed` are fields the client cannot choose. `one` is the field of the result that is the answer; of a list
    its first entry, whose absence is `missing`; the path alone says which. `refuses` are codes besides those of every
    operation."""

    method: str
    path: str
    topic: str
    summary: str
    tag: str
    status: int = 200
    fixed: Mapping[str, Any] = {}
    one: str | None = None
    missing: ErrorCode = ErrorCode.EXECUTION_NOT_FOUND
    refuses: tuple[ErrorCode, ...] = ()


_NO_TASK = (ErrorCode.TASK_NOT_FOUND,)
_NO_EXECUTION = (ErrorCode.EXECUTION_NOT_FOUND,)
_TASK = "/tasks/{task_id}"
_EXECUTION = "/executions/{execution_id}"
_DEAD = "/dead-letters/{execution_id}"

OPERATIONS: tuple[Operation, ...] = (
    Operation("GET", "/status", names.HEALTH, "How the service is", "service"),
    Operation("GET", "/stats", names.STATS, "Counters and gauges", "service"),
    Operation("GET", "/stats/history", names.STATS_HISTORY, "The load of the last hour", "service"),
    Operation("GET", "/registry", names.REGISTRY_LIST, "The task classes there are", "service"),
    Operation("POST", "/registry/reload", names.REGISTRY_RELOAD, "Look for task classes anew", "service"),
    Operation("GET", "/explain", names.SCHEDULE_EXPLAIN, "What a schedule means and when it fires", "service"),
    Operation("GET", "/audit", names.AUDIT_LIST, "Who was allowed and refused what", "service"),
    Operation("GET", "/events", names.EVENT_LIST, "Past events of one topic", "events"),
    Operation("GET", "/tasks", names.TASK_LIST, "Tasks by id, a page at a time", "tasks"),
    Operation("POST", "/tasks", names.TASK_CREATE, "Create a task", "tasks", status=201),
    Operation("GET", _TASK, names.TASK_STATUS, "One task", "tasks", fixed={"history": 0}, one="task", refuses=_NO_TASK),
    Operation("PUT", _TASK, names.TASK_UPDATE, "Change the fields that are given", "tasks", refuses=_NO_TASK),
    Operation("PATCH", _TASK, names.TASK_UPDATE, "Change the fields that are given", "tasks", refuses=_NO_TASK),
    Operation("DELETE", _TASK, names.TASK_DELETE, "Remove a task; its history stays", "tasks", refuses=_NO_TASK),
    Operation("GET", f"{_TASK}/status", names.TASK_STATUS, "A task and its newest runs", "tasks", refuses=_NO_TASK),
    Operation("GET", f"{_TASK}/history", names.EXECUTION_LIST, "The runs of a task", "tasks"),
    Operation("POST", f"{_TASK}/enable", names.TASK_ENABLE, "Let it run again", "tasks", refuses=_NO_TASK),
    Operation("POST", f"{_TASK}/disable", names.TASK_DISABLE, "Switch it off", "tasks", refuses=_NO_TASK),
    Operation("POST", f"{_TASK}/pause", names.TASK_PAUSE, "Hold it for now", "tasks", refuses=_NO_TASK),
    Operation("POST", f"{_TASK}/resume", names.TASK_RESUME, "Go on with it", "tasks", refuses=_NO_TASK),
    Operation("POST", f"{_TASK}/trigger", names.TASK_TRIGGER, "Run it now", "tasks", status=202, refuses=_NO_TASK),
    Operation("POST", f"{_TASK}/backfill", names.TASK_BACKFILL, "Run past slots", "tasks", 202, refuses=_NO_TASK),
    Operation("GET", "/executions", names.EXECUTION_LIST, "Runs, newest first", "executions"),
    Operation(
        "GET",
        _EXECUTION,
        names.EXECUTION_LIST,
        "One run with its attempts",
        "executions",
        fixed={"attempts": True, "limit": 1},
        one="executions",
        refuses=_NO_EXECUTION,
    ),
    Operation("POST", f"{_EXECUTION}/cancel", names.EXECUTION_CANCEL, "End it", "executions", refuses=_NO_EXECUTION),
    Operation("GET", "/dead-letters", names.DEAD_LIST, "Runs that failed for good", "dead letters"),
    Operation(
        "POST", f"{_DEAD}/requeue", names.DEAD_REQUEUE, "Run it again", "dead letters", 202, refuses=_NO_EXECUTION
    ),
    Operation("POST", f"{_DEAD}/discard", names.DEAD_DISCARD, "Drop it", "dead letters", refuses=_NO_EXECUTION),
)
