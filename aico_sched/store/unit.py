"""One transaction of the store: what it reads and writes, and what it will say once it is durable."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aico_sched.audit_chain import Line
from aico_sched.json_text import decoded
from aico_sched.planning import Defaults
from aico_sched.schedule import format_rfc3339, read_rfc3339
from aico_sched.store.audit import AuditTrail
from aico_sched.store.connection import Database
from aico_sched.store.follower_index import FollowerIndex
from aico_sched.store.moved import MovedTasks
from aico_sched.store.outbox import Outbox
from aico_sched.store.recent import RecentExecutions
from aico_sched.store.records import TaskRow
from aico_sched.store.running_logs import RunningLogs
from aico_sched.store.seen import SeenMessages
from aico_sched.topics.internal import (
    AttemptCancel,
    AttemptStart,
    DueLoad,
    DueLoaded,
    DueRun,
    DueTask,
    EventRecord,
)


@dataclass
class Announcements:
    """What other actors hear after the commit. The last word on a task counts."""

    due_tasks: list[DueTask] = field(default_factory=list)
    due_runs: list[DueRun] = field(default_factory=list)
    gone: list[tuple[str, int]] = field(default_factory=list)
    starts: list[AttemptStart] = field(default_factory=list)
    cancels: list[AttemptCancel] = field(default_factory=list)

    def lengths(self) -> tuple[int, ...]:
        """Where each list ends now."""
        return tuple(len(part) for part in self._parts())

    def cut(self, lengths: tuple[int, ...]) -> None:
        """Forget what was added since `lengths`."""
        for part, length in zip(self._parts(), lengths, strict=True):
            del part[length:]

    def _parts(self) -> tuple[list[Any], ...]:
        return self.due_tasks, self.due_runs, self.gone, self.starts, self.cancels


Mark = tuple[tuple[int, int, dict[str, int]], tuple[int, ...], Counter[str]]


class Unit:
    """The store's tools for one turn. `boot_id` names this run of the service; `now_us` is the turn's time;
    `environment_of` says where runs of a class go by themselves."""

    def __init__(
        self,
        database: Database,
        defaults: Defaults,
        boot_id: str,
        cache_size: int,
        environment_of: Callable[[str], str] = lambda task_class: "auto",
    ) -> None:
        self.recent = RecentExecutions(cache_size)
        self.running_logs = RunningLogs()
        self.tally: Counter[str] = Counter()
        self.database, self.defaults, self.boot_id = database, defaults, boot_id
        self.outbox = Outbox(database)
        self.moved = MovedTasks(database, environment_of)
        self.audit_trail = AuditTrail(database)
        self.seen = SeenMessages(database)
        self.followers = FollowerIndex(database)
        self.said = Announcements()
        self.now_us = 0
        self.now = ""
        self._traces: list[str] = []
        # Microseconds to begin with: the store may start anew within a boot, and must not count from where it began.
        self._executions = time.monotonic_ns() // 1_000
        # Until the scheduler has asked, and after a crash here, it is told of everything.
        self._asked_until = "~"

    def begin(self, now_us: int) -> None:
        """Open the transaction of a turn, unless it is open."""
        self.outbox.trace = ""
        if not self.database.in_transaction:
            self.database.begin()
            self.now_us, self.now = now_us, format_rfc3339(now_us)

    def traced(self, traceparent: str) -> None:
        """What follows in this transaction belongs to that trace, until told otherwise; to none, if it is empty."""
        self.outbox.trace = traceparent
        if traceparent:
            self._traces.append(traceparent)

    def take_traces(self) -> list[str]:
        """The traces that this transaction is part of, each once."""
        traces, self._traces = list(dict.fromkeys(self._traces)), []
        return traces

    def announce(self) -> tuple[Announcements, list[EventRecord]]:
        """Close the books of the turn: what to say after the commit, and the events to publish."""
        self.seen.seal()
        # Lines of runs that have started before wait while others start.
        self.audit_trail.seal(hurry=bool(self.said.starts))
        if self.tally:
            self.database.run_many("add_to_counter", list(self.tally.items()))
            self.tally.clear()
        said, self.said = self.said, Announcements()
        return said, self.outbox.seal()

    def reset(self) -> None:
        """The transaction was rolled back: forget what it would have said, read the counters again."""
        self.said = Announcements()
        self._traces = []
        self.tally.clear()
        self.recent.clear()
        self.outbox = Outbox(self.database)
        self.moved.reset()
        self.audit_trail.undo()
        self.seen = SeenMessages(self.database)
        self.followers.reset()

    def mark(self) -> Mark:
        """A savepoint, for a command that may yet be refused."""
        self.database.savepoint()
        return self.outbox.mark(), self.said.lengths(), self.tally.copy()

    def keep(self, mark: Mark) -> None:
        """The command went through."""
        self.database.keep()

    def restore(self, mark: Mark) -> None:
        """The command was refused: it has changed nothing and says nothing."""
        self.database.undo()
        self.outbox.restore(mark[0])
        self.said.cut(mark[1])
        self.tally = mark[2]

    def load_due(self, wanted: DueLoad) -> DueLoaded:
        """What is due up to a moment, oldest first; where `limit` cuts it off, the horizon is the last row's time."""
        self._asked_until = until = format_rfc3339(wanted.until_us)
        tasks = [self._due(TaskRow(*row)) for row in self.database.run("due_tasks", (until, wanted.limit))]
        rows = self.database.run("waiting_runs", (until, wanted.limit))
        runs = [self._waiting(*row) for row in rows]
        horizon = wanted.until_us
        if len(tasks) == wanted.limit:
            horizon = min(horizon, tasks[-1].next_run_us)
        if len(runs) == wanted.limit:
            horizon = min(horizon, runs[-1].run_at_us)
        return DueLoaded(tasks, runs, horizon)

    def _due(self, task: TaskRow) -> DueTask:
        due = task.due()
        place = self.moved.expected(task.task_id, task.task_class, due.options.get("environment"))
        return due if place == "auto" else due._replace(environment=place)

    def _waiting(
        self,
        execution_id: str,
        task_id: str,
        run_at: str,
        priority: int,
        idle_only: int,
        group: str,
        max_instances: int,
        max_defer: float | None,
        on_max_defer: str,
        task_class: str,
        asked: str | None,
    ) -> DueRun:
        """A row of the query `waiting_runs`."""
        due = DueRun(execution_id, task_id, read_rfc3339(run_at), priority, bool(idle_only), group, max_instances)
        place = self.moved.expected(task_id, task_class, asked)
        return due._replace(max_defer=max_defer, on_max_defer=on_max_defer, environment=place)

    def due_run(self, execution_id: str, task_id: str, run_at_us: int, priority: int) -> DueRun:
        """A run that waits for its time, as the scheduler knows it."""
        task = self.task(task_id)
        options = {} if task is None else decoded(task.options)
        return DueRun(
            execution_id,
            task_id,
            run_at_us,
            priority,
            bool(options.get("idle_only")),
            options.get("group") or "",
            options.get("max_instances") or 0,
            options.get("max_defer"),
            options.get("on_max_defer") or "run",
            "auto" if task is None else self.moved.expected(task_id, task.task_class, options.get("environment")),
        )

    def new_execution_id(self) -> str:
        """Unique, and sorting in the order of creation within one boot."""
        self._executions += 1
        return f"{self.boot_id}-{self._executions:012x}"

    @property
    def executions_made(self) -> int:
        """Grows by one with each execution; only differences mean something."""
        return self._executions

    def task(self, task_id: str) -> TaskRow | None:
        """The live task of that id."""
        row = self.database.one("task", (task_id,))
        return None if row is None else TaskRow(*row)

    def created(self, task: TaskRow) -> None:
        """Tell the scheduler of a new task, unless it is due later than all the scheduler has asked about: it will ask
        in time."""
        if task.next_run is not None and task.next_run <= self._asked_until:
            self.changed(task)

    def changed(self, task: TaskRow) -> None:
        """Tell the scheduler how the task stands now."""
        if task.next_run is None:
            self.said.gone.append((task.task_id, task.revision))
        else:
            self.said.due_tasks.append(self._due(task))

    def execution_event(self, topic: str, body: dict[str, Any]) -> None:
        """An event of an execution, happening now; counted for all time."""
        self.tally[topic] += body.get("count", 1)
        self.outbox.add(topic, self.now, {"at": self.now, **body})

    def task_event(self, topic: str, task: TaskRow, by: str) -> None:
        """An event of a task, happening now."""
        self.followers.note(task)
        self.outbox.add(
            topic,
            self.now,
            {
                "task_id": task.task_id,
                "at": self.now,
                "by": by,
                "revision": task.revision,
                "state": task.state if task.deleted_at is None else "finished",
                "next_run": task.next_run,
                "note": task.note,
            },
        )

    def audit(self, source: str, role: str, action: str, target: str, outcome: str, detail: str = "") -> None:
        """A line in the audit trail."""
        self.audit_trail.add(Line(self.now, source, role, action, target, outcome, detail))
