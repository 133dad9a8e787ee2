"""Starts that are put off: telling of them, and ending runs that have waited for longer than their task bears."""

from aico_sched.schedule import format_rfc3339
from aico_sched.store.attempts import identity
from aico_sched.store.executions import Executions
from aico_sched.store.followers import Followers
from aico_sched.store.records import ExecutionRow, TaskRow
from aico_sched.store.unit import Unit
from aico_sched.topics import names
from aico_sched.topics.internal import SlotsDeferred

WAITING = ("queued", "retrying")


def bury(
    unit: Unit,
    executions: Executions,
    followers: Followers,
    run: tuple[str, str, int, str, str],
    config: str,
    reason: str,
) -> None:
    """Send a run that is not to start any more, and whose row says so, to the dead letters. `run` is its `identity`."""
    execution_id, task_id, _, trigger, _ = run
    unit.database.run("insert_dead", (execution_id, task_id, unit.now, reason, config))
    for topic in (names.EXECUTION_FAILED, names.EXECUTION_DEAD):
        executions.event(topic, *run, reason=reason)
    followers.failed(task_id, execution_id, reason, trigger=trigger)


class Deferrals:
    """Records what the scheduler says of starts that must not be yet."""

    def __init__(self, unit: Unit, executions: Executions, followers: Followers) -> None:
        self._unit, self._executions, self._followers = unit, executions, followers
        self._database = unit.database

    def record(self, deferred: SlotsDeferred) -> None:
        """Tell the world of each; slots and runs stay due. What is over or under way meanwhile is left alone."""
        for task_id, scheduled_for_us, reason in deferred.slots:
            at = format_rfc3339(scheduled_for_us)
            self._executions.event(names.EXECUTION_DEFERRED, "", task_id, 0, "schedule", at, reason=reason)
        for execution_id, reason in deferred.runs:
            execution = self._waiting(execution_id)
            if execution is not None:
                self._executions.event(names.EXECUTION_DEFERRED, *identity(execution), reason=reason)
        for execution_id, action, reason in deferred.given_up:
            execution = self._waiting(execution_id)
            if execution is not None:
                self._give_up(execution, action, reason)

    def _waiting(self, execution_id: str) -> ExecutionRow | None:
        row = self._database.one("execution", (execution_id,))
        execution = None if row is None else ExecutionRow(*row)
        return execution if execution is not None and execution.status in WAITING else None

    def _give_up(self, execution: ExecutionRow, action: str, reason: str) -> None:
        """End a run that waits. One that has failed before is not skipped: nobody would hear of its failure."""
        skipped = action == "skip" and execution.status == "queued"
        statement = "skip_waiting" if skipped else "bury_waiting"
        if not self._database.change(statement, (self._unit.now, reason, execution.execution_id)):
            return
        if skipped:
            self._executions.event(names.EXECUTION_SKIPPED, *identity(execution), reason=reason)
        else:
            task = TaskRow(*self._database.run("task_even_deleted", (execution.task_id,))[0])
            bury(self._unit, self._executions, self._followers, identity(execution), task.config, reason)
        self._executions.run_over(execution.task_id, self._unit.now_us)
