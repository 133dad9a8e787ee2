"""Due slots: advancing a task past one and creating what becomes of it, in one transaction."""

from typing import Any

from aico_sched.json_text import decoded
from aico_sched.planning import MAX_QUEUED
from aico_sched.schedule import format_rfc3339
from aico_sched.store.deferrals import bury
from aico_sched.store.executions import Executions
from aico_sched.store.followers import Followers
from aico_sched.store.records import TaskRow
from aico_sched.store.tasks import TaskCommands
from aico_sched.store.unit import Unit
from aico_sched.store.unserved import record_unserved
from aico_sched.topics import names
from aico_sched.topics.internal import AFTER_RUN, NEVER, Slot

RUNS = ("run", "catchup")
"""The actions of a slot that mean to run it."""


class Slots:
    """Claims slots; a slot has one row at most, whatever is sent twice."""

    def __init__(self, unit: Unit, tasks: TaskCommands, executions: Executions, followers: Followers) -> None:
        self._unit, self._tasks, self._executions, self._followers = unit, tasks, executions, followers
        self._database = unit.database

    def claim(self, slot: Slot) -> bool:
        """Advance the task past `slot` and create what becomes of it, in one transaction. Returns whether a run was
        started. A slot that is no longer the task's next one (it was edited, or claimed before) is ignored."""
        row = self._take(slot)
        if row is None:
            self.correct(slot.task_id)
            return False
        if slot.missed:
            self._record_missed(slot)
        outcome = slot.action
        if slot.action in RUNS:
            outcome = self._run_slot(slot, row)
        elif slot.action == "skip":
            scheduled_for = format_rfc3339(slot.scheduled_for_us)
            record_unserved(self._unit, "skipped", slot.task_id, scheduled_for, slot.reason)
        elif slot.action == "fail":
            self._fail_slot(slot, row)
        self.look_ahead(slot, outcome)
        return outcome == "started"

    def _take(self, slot: Slot) -> tuple[Any, ...] | None:
        """Move the task on to its next slot; None when `slot` is not the one it waits for."""
        unit, runs, waits = self._unit, slot.action in RUNS, slot.next_run_us > 0
        return self._database.one(
            "take_slot",
            (
                format_rfc3339(slot.next_run_us) if waits else None,
                unit.now if runs else None,
                int(runs),
                int(slot.next_run_us == NEVER),
                slot.task_id,
                slot.revision,
                format_rfc3339(slot.due_us),
                format_rfc3339(slot.next_due_us) if waits else None,
            ),
        )

    def look_ahead(self, slot: Slot, outcome: str) -> None:
        """What a claimed slot means for the task's next ones, now that its outcome is known."""
        if outcome == "skipped":
            task = TaskRow(*self._database.run("uncount_run", (slot.task_id,))[0])
            if slot.next_run_us == NEVER and decoded(task.options).get("max_runs"):
                # It was planned as the last of so many runs, and none has come of it.
                task = self._tasks.resumed(task)
            self._unit.changed(task)
            if task.finished:
                self._announce_finished(slot.task_id)
        elif slot.next_run_us == NEVER:
            self._announce_finished(slot.task_id)
        if slot.next_run_us == AFTER_RUN:
            self._executions.fixed_delay.watch(slot.task_id)
            if outcome not in ("started", "queued"):
                self._executions.fixed_delay.follow(slot.task_id, self._unit.now_us)

    def correct(self, task_id: str) -> None:
        """The scheduler believes something about the task that is no longer so: tell it how things stand."""
        task = self._unit.task(task_id)
        if task is not None:
            self._unit.changed(task)

    def _run_slot(self, slot: Slot, row: tuple[Any, ...]) -> str:
        """Start the slot's run, or queue or skip it as the overlap rule says. Returns which."""
        overlap = decoded(row[2]).get("overlap", "skip")
        if slot.action == "catchup":
            # The slots of a backlog run one after the other, whatever they do among themselves at other times.
            overlap = "queue"
        active = self._database.run("active_executions", (slot.task_id,)) if overlap != "allow" else []
        scheduled_for = format_rfc3339(slot.scheduled_for_us)
        if not active:
            return "started" if self._insert_running(slot, scheduled_for, row) else "skipped"
        if overlap == "skip":
            reason = f"the run {active[0][0]} has not finished"
            record_unserved(self._unit, "skipped", slot.task_id, scheduled_for, reason)
            return "skipped"
        if len(active) > MAX_QUEUED:
            reason = f"{MAX_QUEUED} runs are waiting already"
            record_unserved(self._unit, "missed", slot.task_id, scheduled_for, reason, 1)
            return "skipped"
        if not self._enqueue_slot(slot.task_id, scheduled_for, row[5]):
            return "skipped"
        if overlap == "cancel_previous":
            self._executions.cancel_all(active, f"the slot {scheduled_for} is due")
            self._executions.unblock(slot.task_id)
        return "queued"

    def _enqueue_slot(self, task_id: str, scheduled_for: str, priority: int) -> bool:
        """A run that waits for those before it; false if the slot has had its run."""
        execution_id = self._unit.new_execution_id()
        if not self._executions.insert(task_id, execution_id, "queued", "schedule", scheduled_for, priority=priority):
            return False
        self._executions.blocked.add(task_id)
        return True

    def _insert_running(self, slot: Slot, scheduled_for: str, row: tuple[Any, ...]) -> bool:
        execution_id = self._unit.new_execution_id()
        if not self._executions.insert(
            slot.task_id, execution_id, "running", "schedule", scheduled_for, attempt=1, priority=row[5]
        ):
            return False
        self._executions.start(execution_id, slot.task_id, 1, "schedule", slot.scheduled_for_us, row)
        return True

    def _fail_slot(self, slot: Slot, row: tuple[Any, ...]) -> None:
        """The slot was put off for longer than its task allows: a failed run that goes to the dead letters."""
        scheduled_for = format_rfc3339(slot.scheduled_for_us)
        execution_id = self._unit.new_execution_id()
        if not self._executions.insert(
            slot.task_id,
            execution_id,
            "dead",
            "schedule",
            scheduled_for,
            reason=slot.reason,
            completed_at=self._unit.now,
        ):
            return
        run = (execution_id, slot.task_id, 0, "schedule", scheduled_for)
        bury(self._unit, self._executions, self._followers, run, row[1], slot.reason)

    def _record_missed(self, slot: Slot) -> None:
        """One row for all the slots given up, so that a long outage costs no more than a short one."""
        until = "the newest of them" if slot.action == "none" else "the one that runs"
        reason = (
            f"{slot.missed} slots passed unserved before {until}; the first was {format_rfc3339(slot.missed_from_us)}"
        )
        first = format_rfc3339(slot.missed_from_us)
        record_unserved(self._unit, "missed", slot.task_id, first, reason, slot.missed)

    def _announce_finished(self, task_id: str) -> None:
        task = self._unit.task(task_id)
        if task is not None:
            self.finished(task)

    def finished(self, task: TaskRow) -> None:
        """Tell that the task has no further slot."""
        self._unit.changed(task)
        self._unit.task_event(names.TASK_FINISHED, task, "aico-sched")
