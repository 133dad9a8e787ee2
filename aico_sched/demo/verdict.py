"""What two witnesses heard against what the service says it did: what is missing, in words. Pure."""

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Any, NamedTuple

from aico_sched.demo.plan import PREFIX, Planned
from aico_sched.topics import names

NAMED_AT_MOST = 3

Key = tuple[str, str]
"""Topic, and the execution or task the event is about."""


class Witness:
    """The events about the demo's tasks that one process has heard."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.keys: set[Key] = set()
        self.numbers: dict[str, set[int]] = defaultdict(set)
        self.by_task: Counter[str] = Counter()
        self.late: dict[str, list[float]] = defaultdict(list)

    def hear(self, event: Mapping[str, Any]) -> None:
        """Note an event; `seq` tells a repetition."""
        task_id = event.get("task_id") or ""
        if task_id.startswith(PREFIX) and event["seq"] not in self.numbers[event["topic"]]:
            self.keys.add((event["topic"], event.get("execution_id") or task_id))
            self.numbers[event["topic"]].add(event["seq"])
            self.by_task[task_id] += 1
            if event["topic"] == names.EXECUTION_SUCCEEDED and "started_at" in event:
                self.late[task_id].append(lateness(event))


class Report(NamedTuple):
    """What the client process says at its end: seconds per answered request, requests without one, and the service's
    history of the tasks' executions."""

    round_trips: Sequence[float]
    unanswered: Sequence[str]
    executions: Sequence[Mapping[str, Any]]


def percentile(values: Iterable[float], share: float) -> float:
    """The smallest of `values` that `share` (0 to 1) of them do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * share) - 1)]


def lateness(event: Mapping[str, Any]) -> float:
    """Seconds from when an execution was due to when its code began, of the event that tells its end."""
    started, due = (datetime.fromisoformat(event[name]) for name in ("started_at", "scheduled_for"))
    return (started - due).total_seconds()


def runs_of(task_id: str, report: Report) -> list[Mapping[str, Any]]:
    """The successful executions of a task, the earliest first."""
    rows = [row for row in report.executions if row["task_id"] == task_id and row["status"] == "succeeded"]
    return sorted(rows, key=lambda row: str(row["scheduled_for"]))


def problems(tasks: Sequence[Planned], report: Report, witnesses: Sequence[Witness]) -> list[str]:
    """Everything that should have arrived and did not; empty when all is well."""
    found = [f"no answer to: {what}" for what in report.unanswered]
    for task in tasks:
        found += _of_task(task, report)
    expected = _expected(tasks, report)
    for witness in witnesses:
        found += _not_heard(witness, expected)
    found += _gaps(witnesses)
    return found


def _of_task(task: Planned, report: Report) -> list[str]:
    runs = runs_of(task.task_id, report)
    found = []
    if len(runs) < task.runs:
        found.append(f"{task.task_id}: {task.runs} runs expected, {len(runs)} seen")
    for row in report.executions:
        if row["task_id"] == task.task_id and row["status"] != "succeeded":
            why = row["error_message"] or row["reason"] or "no reason given"
            found.append(f"{task.task_id}: the run for {row['scheduled_for']} is {row['status']}: {why}")
    if task.schedule.startswith("interval:"):
        seconds = float(task.schedule.partition(":")[2])
        slots = [datetime.fromisoformat(row["scheduled_for"]) for row in runs]
        for earlier, later in pairwise(slots):
            if abs((later - earlier).total_seconds() - seconds) > 0.001:
                found.append(f"{task.task_id}: no run between {earlier:%H:%M:%S} and {later:%H:%M:%S}")
    return found


def _expected(tasks: Sequence[Planned], report: Report) -> set[Key]:
    """The events that must follow from what the service's history holds."""
    created = {(names.TASK_CREATED, task.task_id) for task in tasks}
    topics = (names.EXECUTION_STARTED, names.EXECUTION_SUCCEEDED)
    ran = {(topic, row["execution_id"]) for task in tasks for row in runs_of(task.task_id, report) for topic in topics}
    return created | ran


def _not_heard(witness: Witness, expected: set[Key]) -> list[str]:
    by_topic: dict[str, list[str]] = defaultdict(list)
    for topic, about in sorted(expected - witness.keys):
        by_topic[topic].append(about)
    found = []
    for topic, missing in by_topic.items():
        total = sum(key[0] == topic for key in expected)
        which = ", ".join(missing[:NAMED_AT_MOST]) + (", …" if len(missing) > NAMED_AT_MOST else "")
        found.append(f"the {witness.name} did not get {len(missing)} of {total} {topic} events ({which})")
    return found


def _gaps(witnesses: Sequence[Witness]) -> list[str]:
    """Events that another witness has heard, by their numbers; the topics whose loss is told already are left out."""
    found = []
    for topic in sorted({topic for witness in witnesses for topic in witness.numbers}):
        heard: set[int] = set().union(*(witness.numbers.get(topic, set()) for witness in witnesses))
        for witness in witnesses:
            missing = heard - witness.numbers.get(topic, set())
            told = topic in (names.TASK_CREATED, names.EXECUTION_STARTED, names.EXECUTION_SUCCEEDED)
            if missing and not told:
                numbers = ", ".join(map(str, sorted(missing)[:NAMED_AT_MOST]))
                found.append(f"the {witness.name} did not get {len(missing)} {topic} events (seq {numbers})")
    return found
