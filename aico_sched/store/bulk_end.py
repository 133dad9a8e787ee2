"""Recording many ends of attempts with three statements instead of two for each.

Successes of tasks that nothing waits for are the common thing. Whatever has consequences (a failure, a run that waits
for this one, a task that follows) goes the long way, in its place.
"""

from collections.abc import Callable, Sequence

import structlog

from aico_sched.json_text import compact_plain
from aico_sched.schedule import format_rfc3339
from aico_sched.store.attempts import Attempts
from aico_sched.store.errors import StoreError
from aico_sched.store.executions import Executions
from aico_sched.store.unit import Unit
from aico_sched.topics.internal import AttemptEnd

log = structlog.get_logger(__name__)

LOST = "the database did not take what the task said; the service's log says why"

FEWEST = 4
"""With fewer ends the long way is as short."""


class BulkEnd:
    """Records ends as `Attempts.ended` does one after the other, with the same outcome."""

    def __init__(self, unit: Unit, executions: Executions, attempts: Attempts) -> None:
        self._unit, self._executions, self._attempts = unit, executions, attempts
        self._database = unit.database
        self.unrecorded = 0

    def ended(self, ends: Sequence[AttemptEnd]) -> None:
        """Record them all. One that the database does not take fails alone. Raises the database's own `StoreError`s."""
        if not self._tried(lambda: self._record(ends)):
            for end in ends:
                self._alone(end)
        self._unit.running_logs.over(ends)

    def _alone(self, end: AttemptEnd) -> None:
        """Record an end, if need be without what the task has said; a run without an end would never be over."""
        if self._tried(lambda: self._attempts.ended(end)):
            return
        bare = end._replace(
            result=None, error_message=end.error_message and LOST, traceback=None, usage=None, logs=None
        )
        if not self._tried(lambda: self._attempts.ended(bare)):
            self.unrecorded += 1

    def _tried(self, record: Callable[[], None]) -> bool:
        """Do it; if a statement fails, undo it and return False."""
        mark = self._unit.mark()
        try:
            record()
        except StoreError as error:
            if error.of_database:
                raise
            self._unit.restore(mark)
            self._executions.reset()
            log.error("attempts_not_recorded", error=str(error))
            return False
        self._unit.keep(mark)
        return True

    def _record(self, ends: Sequence[AttemptEnd]) -> None:
        if len(ends) < FEWEST:
            for end in ends:
                self._attempts.ended(end)
            return
        ids = compact_plain([end.execution_id for end in ends])
        task_of: dict[str, str] = dict(self._database.run("tasks_of_executions", (ids,)))
        plain: dict[str, AttemptEnd] = {}
        for end in ends:
            task_id = task_of.get(end.execution_id, "")
            is_plain = self._is_plain(end, task_id)
            if task_id in plain or not is_plain:
                self._finish(list(plain.values()))
                plain = {}
            if is_plain:
                plain[task_id] = end
            else:
                self._attempts.ended(end)
        self._finish(list(plain.values()))

    def _is_plain(self, end: AttemptEnd, task_id: str) -> bool:
        """Whether nothing comes of this end but its record."""
        return (
            end.outcome == "succeeded"
            and task_id != ""
            and end.reason is None
            and end.error_message is None
            and not self._executions.awaited(task_id)
            and not self._unit.followers.concerned(task_id)
        )

    def _finish(self, ends: Sequence[AttemptEnd]) -> None:
        """Move running executions of different tasks to their end, unless they are there already."""
        if not ends:
            return
        moves, attempts = [], {}
        for end in ends:
            times = format_rfc3339(end.started_us), format_rfc3339(end.completed_us)
            usage = compact_plain(end.usage) if end.usage else None
            seconds = (end.completed_us - end.started_us) / 1_000_000
            moves.append((end.execution_id, end.attempt, *times, seconds, end.result, usage))
            logs = compact_plain(end.logs) if end.logs else None
            key = end.execution_id
            attempts[key] = (key, end.attempt, end.outcome, *times, None, None, None, usage, logs)
        found = {row[0]: row[1:] for row in self._database.run("finish_executions", (compact_plain(moves),))}
        self._database.insert("insert_attempt", [row for key, row in attempts.items() if key in found])
        for end in ends:
            if end.execution_id in found:
                self._unit.traced(end.traceparent)
                self._attempts.outcome_event(end, *found[end.execution_id])
