"""The commands that only read."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgpack

from aico_sched.execution.states import ACTIVE
from aico_sched.json_text import compact
from aico_sched.redaction import shown
from aico_sched.schedule import format_rfc3339, parse_rfc3339
from aico_sched.store.outbox import Outbox
from aico_sched.store.records import AttemptRow, DeadRow, ExecutionRow, TaskRow
from aico_sched.store.unit import Unit
from aico_sched.topics import limits, names
from aico_sched.topics.errors import CommandError, ErrorCode

_NEWEST = 2**62

_ONE = frozenset({"execution_id", "attempts", "limit"})
"""The fields of a question about one execution and nothing else."""

PAGE_BYTES = limits.MAX_FRAME_BYTES // 2
"""What a page may hold as msgpack, so that its reply fits into one message of either codec (AICO's is up to twice as
long for what lists hold); a page that would be longer ends earlier."""


class History:
    """Lists of tasks, executions, dead letters and events, a page at a time."""

    def __init__(self, unit: Unit) -> None:
        self._database = unit.database
        self._unit = unit

    def counted(self) -> dict[str, Any]:
        """How much there is of each, for `scheduler.stats`."""
        return {
            "tasks": self._database.run("count_tasks")[0][0],
            "dead_letters": self._database.run("count_dead")[0][0],
            "totals": dict(self._database.run("counters_below", (names.EXECUTION_EVENTS,))),
            "statuses": dict(self._database.run("count_statuses")),
            "unavailable": [row[0] for row in self._database.run("unavailable_tasks")],
            "database_bytes": self._database.size(),
        }

    def tasks(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """`scheduler.task.list`, by id or by next run."""
        limit = payload.get("limit", 100)
        by_time = payload.get("sort") == "next_run"
        cursor = payload.get("cursor") or ""
        filters = [payload.get(name) or "" for name in ("prefix", "state", "tag", "owner")]
        after = cursor.partition("/")[::2] if by_time else (cursor,)
        rows = self._database.run("list_next_tasks" if by_time else "list_tasks", (*after, *filters, limit + 1))
        tasks = [TaskRow(*row) for row in rows]
        views = _fitting(self._with_recent([task.view() for task in tasks[:limit]], payload.get("history", 0)))
        last = tasks[len(views) - 1] if len(tasks) > len(views) else None
        position = None if last is None else f"{last.next_run}/{last.task_id}" if by_time else last.task_id
        return {"tasks": views, "next_cursor": position}

    def _with_recent(self, views: list[dict[str, Any]], history: int) -> list[dict[str, Any]]:
        """The tasks, each with the states of its newest runs."""
        if not history:
            return views
        recent: dict[str, list[str]] = {view["task_id"]: [] for view in views}
        for task_id, status in self._database.run("recent_states", (compact(list(recent)), history)):
            recent[task_id].append(status)
        return [{**view, "recent": recent[view["task_id"]]} for view in views]

    def status(self, task: TaskRow, history: int) -> dict[str, Any]:
        """`scheduler.task.status`: a task and its newest executions."""
        rows = self._database.run("list_executions_of_task", (task.task_id, _NEWEST, history))
        return {"task": task.view(), "executions": [ExecutionRow(*row).view() for row in rows]}

    def executions(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """`scheduler.execution.list`, newest first."""
        asks_for_one = bool(payload.get("execution_id")) and payload.keys() <= _ONE
        known = self._unit.recent.get(payload["execution_id"]) if asks_for_one else None
        if known is not None:
            return {"executions": [self._execution(known, bool(payload.get("attempts")))], "next_cursor": None}
        limit = payload.get("limit", 100)
        since, until = (_instant(payload.get(name)) for name in ("since", "until"))
        filters = [payload.get(name) or "" for name in ("task_id", "execution_id", "status")]
        parameters = (_number(payload.get("cursor")), *filters, since, until, limit + 1)
        # What waits or runs is little, and has an index of its own; all of the history may be a million rows.
        query = "list_active_executions" if payload.get("status") in ACTIVE else "list_executions"
        rows = [ExecutionRow(*row) for row in self._database.run(query, parameters)]
        attempts = bool(payload.get("attempts"))
        views = _fitting(self._execution(row, attempts) for row in rows[:limit])
        more = len(rows) > len(views)
        if payload.get("execution_id"):
            for row in rows:
                self._unit.recent.put(row)
        return {"executions": views, "next_cursor": str(rows[len(views) - 1].id) if more else None}

    def _execution(self, row: ExecutionRow, attempts: bool) -> dict[str, Any]:
        view = row.view()
        if attempts:
            view["attempts"] = self._attempts(row.execution_id)
            if row.status == "running":
                view["logs"] = self._unit.running_logs.of(row.execution_id, row.attempt)
        return view

    def dead(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """`scheduler.dead.list`, newest first, each with its attempts."""
        limit = payload.get("limit", 100)
        died_at, _, execution_id = (payload.get("cursor") or "").partition("/")
        parameters = (
            payload.get("task_id") or "", died_at, execution_id, limit + 1, payload.get("execution_id") or ""
        )  # fmt: skip
        rows = [DeadRow(*row) for row in self._database.run("list_dead", parameters)]
        letters = _fitting(
            {**row._asdict(), "config": shown(row.config), "attempts": self._attempts(row.execution_id)}
            for row in rows[:limit]
        )
        last = rows[len(letters) - 1] if len(rows) > len(letters) else None
        return {"dead": letters, "next_cursor": f"{last.died_at}/{last.execution_id}" if last else None}

    def events(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """`scheduler.event.list`: what a subscriber missed."""
        outbox: Outbox = self._unit.outbox
        limit, newest = payload.get("limit", 100), payload.get("newest", False)
        rows = outbox.of_topic(payload["topic"], payload.get("after_seq", 0), limit, newest=newest)
        views = (
            {
                "topic": event.topic,
                "seq": event.seq,
                "message_id": event.message_id,
                "timestamp": event.timestamp,
                "payload": msgpack.unpackb(event.body),
            }
            for event in rows
        )
        return {"events": _fitting(views)}

    def audit(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        """`scheduler.audit.list`."""
        page = self._unit.audit_trail.page(payload, _instant(payload.get("since")))
        lines = _fitting(page["lines"])
        if len(lines) < len(page["lines"]):
            page |= {"lines": lines, "next_cursor": str(lines[-1]["id"])}
        return page

    def _attempts(self, execution_id: str) -> list[dict[str, Any]]:
        """Of one execution; what they have logged goes as far back as an answer has room."""
        attempts = [AttemptRow(*row) for row in self._database.run("attempts", (execution_id,))]
        room = limits.MAX_SHOWN_LOG_BYTES
        views = []
        for attempt in reversed(attempts):
            view = attempt.view()
            room -= len(attempt.logs or "")
            if room < 0 and view["logs"] is not None:
                view["logs"] = {"lines": [], "dropped": view["logs"]["dropped"] + len(view["logs"]["lines"])}
            views.append(view)
        return views[::-1]


def _fitting(views: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first of `views` that fit into one reply; at least one."""
    page: list[dict[str, Any]] = []
    room = PAGE_BYTES
    for view in views:
        room -= len(msgpack.packb(view))
        if room < 0 and page:
            break
        page.append(view)
    return page


def _instant(text: str | None) -> str:
    return "" if text is None else format_rfc3339(parse_rfc3339(text))


def _number(cursor: str | None) -> int:
    if cursor is None:
        return _NEWEST
    if not cursor.isdecimal():
        message = "the cursor is not one that this list handed out"
        raise CommandError(ErrorCode.INVALID_MESSAGE, message, field="cursor")
    return min(int(cursor), _NEWEST)
