"""Creating many tasks with a statement for a hundred of them instead of five for each: one costs more than a row.

The outcome is that of creating them one after the other, event for event. What a statement cannot do for all of them
(an id that is taken, a row the database does not take) goes the long way, in its place.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from aico_sched.store.errors import StoreError
from aico_sched.store.tasks import NewTask, Sender, TaskCommands
from aico_sched.store.unit import Unit
from aico_sched.topics.errors import CommandError
from aico_sched.verdicts import Unjudged


class Prepared(NamedTuple):
    """A create that may go through, or why it may not, or not yet. `written`: its row is in the database already."""

    outcome: NewTask | CommandError | Unjudged
    written: bool = False


class BulkCreate:
    """Writes the rows of many new tasks together."""

    def __init__(self, unit: Unit, tasks: TaskCommands) -> None:
        self._unit, self._tasks = unit, tasks

    def prepare(self, wanted: Sequence[tuple[Mapping[str, Any], Sender]]) -> list[Prepared]:
        """Judge them all and write the rows of those that nothing speaks against. Raises a `StoreError` of the
        database; after any other one nothing is written, and each row is tried by itself."""
        outcomes = [self._judged(payload, sender) for payload, sender in wanted]
        # Of two with one id the first counts.
        rows: dict[str, NewTask] = {}
        for outcome in outcomes:
            if isinstance(outcome, NewTask):
                rows.setdefault(outcome.task.task_id, outcome)
        written = self._written(rows)
        return [
            Prepared(
                each, isinstance(each, NewTask) and rows[each.task.task_id] is each and each.task.task_id in written
            )
            for each in outcomes
        ]

    def _judged(self, payload: Mapping[str, Any], sender: Sender) -> NewTask | CommandError | Unjudged:
        try:
            return self._tasks.prepare(payload, sender)
        except (CommandError, Unjudged) as error:
            return error

    def _written(self, rows: Mapping[str, NewTask]) -> set[str]:
        """The ids of those whose rows have been written."""
        mark = self._unit.mark()
        try:
            inserted = {
                row[0] for row in self._unit.database.insert("insert_task", [new.task for new in rows.values()])
            }
        except StoreError as error:
            if error.of_database:
                raise
            self._unit.restore(mark)
            return set()
        self._unit.keep(mark)
        return inserted
