"""Why a task does not run, in words, from what the service has recorded. Pure: it is given the service's answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple

SHOWN = 3
"""Slots that did not run, told one by one."""

_UNSERVED = ("skipped", "missed", "dead", "cancelled", "interrupted")
_WORDS = {
    "skipped": "was skipped",
    "missed": "was missed",
    "dead": "failed for good",
    "cancelled": "was cancelled",
    "interrupted": "was interrupted",
}


class Facts(NamedTuple):
    """What is known: the task and its newest executions (newest first), the newest events that its slots were put off
    (oldest first), the service's health and its executor's figures, and the time."""

    task: Mapping[str, Any]
    executions: Sequence[Mapping[str, Any]]
    deferrals: Sequence[Mapping[str, Any]]
    health: Mapping[str, Any]
    executor: Mapping[str, Any]
    now: datetime


class Finding(NamedTuple):
    """One sentence. `at` is the moment it is about, RFC 3339, None if that is now; `hint` what to do about it."""

    sentence: str
    at: str | None = None
    hint: str | None = None


def why(facts: Facts) -> list[Finding]:
    """What keeps the task from running, what it waits for, and which of its last slots did not run; the most telling
    first. There is always at least one finding."""
    load = _load(facts) if _start_is_due(facts) else []
    found = [*_state(facts), *_under_way(facts), *_waiting(facts), *load, *_slots(facts)]
    return found or [Finding("nothing keeps it from running; it has not been due yet")]


def _state(facts: Facts) -> list[Finding]:
    task = facts.task
    note = f": {task['note']}" if task.get("note") else ""
    task_id = task["task_id"]
    states = {
        "disabled": (f"it is disabled{note}", f"enable {task_id}"),
        "paused": (f"it is paused{note}", f"resume {task_id}"),
        "unavailable": (f"its code is not available{note}", "registry reload"),
        "finished": ("its schedule has no further run", None),
    }
    if task["state"] not in states:
        return []
    sentence, hint = states[task["state"]]
    return [Finding(sentence, hint=hint)]


def _under_way(facts: Facts) -> list[Finding]:
    found = []
    for run in facts.executions:
        if run["status"] == "running":
            found.append(Finding(f"it is running now (attempt {run['attempt']})", run["started_at"]))
        elif run["status"] == "retrying":
            error = f"; it failed with {run['error_message']}" if run.get("error_message") else ""
            found.append(Finding(f"it waits for attempt {run['attempt'] + 1}{error}", run["run_at"]))
        elif run["status"] == "queued" and run["run_at"] is None:
            found.append(Finding("a run waits until the one before it has ended", run["scheduled_for"]))
        elif run["status"] == "queued":
            found.append(Finding("a run waits for a place", run["run_at"]))
        if run["status"] in ("queued", "retrying"):
            found += _put_off(facts, execution_id=run["execution_id"])
    return found


def _waiting(facts: Facts) -> list[Finding]:
    task = facts.task
    if task["state"] != "active":
        return []
    if task["next_run"] is None:
        return [_by_event(task["schedule"])]
    due = datetime.fromisoformat(task["next_run"])
    if due > facts.now:
        return [Finding("it is due then, not before", task["next_run"])]
    put_off = _put_off(facts, scheduled_for=task["next_run"], execution_id="")
    return [Finding("its slot is due and has not started", task["next_run"]), *put_off]


def _by_event(schedule: str) -> Finding:
    """What an active task without a next run waits for."""
    kind, _, other = schedule.partition(":")
    if kind == "after":
        return Finding(f"it runs each time {other} succeeds", hint=f"why {other}")
    sentences = {
        "failure": f"it runs each time a run of {other} fails for good",
        "@reboot": "it runs once at each start of the service",
    }
    return Finding(sentences.get(kind, "its next run is counted from the end of the one under way"))


def _start_is_due(facts: Facts) -> bool:
    """Whether a slot or a run could start now, as far as time goes."""
    slot = facts.task["next_run"] if facts.task["state"] == "active" else None
    runs = [run["run_at"] for run in facts.executions if run["status"] in ("queued", "retrying")]
    return any(due is not None and datetime.fromisoformat(due) <= facts.now for due in (slot, *runs))


def _put_off(facts: Facts, **start: str) -> list[Finding]:
    """Why the start with these marks was put off, if it was."""
    told = [event for event in facts.deferrals if start.items() <= event.items()]
    return [Finding(f"it was put off: {told[-1]['reason']}", told[-1]["at"])] if told else []


def _load(facts: Facts) -> list[Finding]:
    """What keeps anything from starting now."""
    load = facts.health["checks"].get("load", {})
    found = [] if load.get("ok", True) else [Finding(f"right now: {reason}") for reason in facts.health["reasons"]]
    running, limit = facts.executor.get("running", 0), facts.executor.get("limit", 0)
    if limit and running >= limit:
        found.append(Finding(f"all {limit} places are taken", hint="top"))
    return found


def _slots(facts: Facts) -> list[Finding]:
    """The newest slots that did not run as they should."""
    found: list[Finding] = []
    for run in facts.executions:
        if run["status"] not in _UNSERVED or len(found) == SHOWN:
            continue
        reason = run.get("reason") or run.get("error_message")
        count = f" ({run['missed_count']} slots)" if (run.get("missed_count") or 1) > 1 else ""
        hint = f"dead show {run['execution_id']}" if run["status"] == "dead" else None
        words = f"the slot {_WORDS[run['status']]}{count}" + (f": {reason}" if reason else "")
        found.append(Finding(words, run["scheduled_for"], hint))
    last = next((run for run in facts.executions if run["status"] == "succeeded"), None)
    if last is not None:
        found.append(Finding("its last run succeeded", last["started_at"]))
    return found
