"""What happens when a run ends that other tasks follow."""

from collections.abc import Mapping
from typing import Any

from aico_sched.json_text import compact, decoded
from aico_sched.planning import MAX_QUEUED
from aico_sched.schedule import AfterSchedule, FailureSchedule, parse_schedule
from aico_sched.store.executions import Executions
from aico_sched.store.records import TaskRow
from aico_sched.store.unit import Unit
from aico_sched.store.unserved import record_unserved

LONGEST_CHAIN = 32
"""Runs that may follow one another. A longer chain is a circle that was closed by two commands in one turn."""


class Followers:
    """Starts what follows the end of a run, in the transaction that records the end."""

    def __init__(self, unit: Unit, executions: Executions) -> None:
        self._unit, self._executions = unit, executions

    def succeeded(self, task_id: str, execution_id: str, result: str | None) -> None:
        """A run has succeeded; `result` is JSON text."""
        for follower in self._unit.followers.after_success(task_id):
            cause = {"task_id": task_id, "execution_id": execution_id, "status": "succeeded"}
            self._fire(follower, {**cause, "result": None if result is None else decoded(result)})

    def failed(self, task_id: str, execution_id: str, reason: str | None, *, trigger: str) -> None:
        """A run has failed for good. The failure of a run that itself follows one is left to the dead letters: who
        tells of failures must not tell of its own for ever."""
        if trigger == "event" and self._is_watcher(task_id):
            return
        for follower in self._unit.followers.after_failure(task_id):
            cause = {"task_id": task_id, "execution_id": execution_id, "status": "dead", "reason": reason}
            self._fire(follower, cause)

    def _is_watcher(self, task_id: str) -> bool:
        task = self._unit.task(task_id)
        return task is not None and task.schedule.startswith("failure:")

    def _fire(self, follower: str, cause: Mapping[str, Any]) -> None:
        task = self._unit.task(follower)
        if task is None or not task.runnable or not self._follows(task, cause):
            return
        depth = self._depth(str(cause["execution_id"])) + 1
        if depth > LONGEST_CHAIN:
            reason = f"{LONGEST_CHAIN} runs have followed one another; the tasks seem to follow themselves"
            record_unserved(self._unit, "skipped", follower, self._unit.now, reason)
            return
        overlap = decoded(task.options).get("overlap", "skip")
        active = self._unit.database.run("active_executions", (follower,)) if overlap != "allow" else []
        if active and (overlap == "skip" or len(active) > MAX_QUEUED):
            reason = f"{cause['task_id']} {cause['status']} while the run {active[0][0]} had not finished"
            record_unserved(self._unit, "skipped", follower, self._unit.now, reason)
            return
        if overlap == "cancel_previous":
            self._executions.cancel_all(active, f"{cause['task_id']} {cause['status']} again")
        told = compact({**cause, "depth": depth})
        execution_id = self._executions.enqueue(follower, "event", self._unit.now, task.priority, blocked=bool(active))
        self._unit.database.run("set_cause", (told, execution_id))

    def _follows(self, task: TaskRow, cause: Mapping[str, Any]) -> bool:
        """Whether it still does; the index may be behind."""
        schedule = parse_schedule(task.schedule, task.timezone)
        if cause["status"] == "succeeded":
            return isinstance(schedule, AfterSchedule) and schedule.task_id == cause["task_id"]
        return isinstance(schedule, FailureSchedule) and schedule.names(str(cause["task_id"]))

    def _depth(self, execution_id: str) -> int:
        row = self._unit.database.one("cause", (execution_id,))
        return int(decoded(row[0])["depth"]) if row is not None and row[0] is not None else 0
