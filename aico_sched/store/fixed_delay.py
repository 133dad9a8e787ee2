"""Tasks whose interval counts from the end of the run before (`fixed_delay`)."""

from aico_sched.json_text import decoded
from aico_sched.planning import first_slot
from aico_sched.schedule import format_rfc3339, parse_schedule
from aico_sched.store.timing import waiting_for
from aico_sched.store.unit import Unit


class FixedDelay:
    """Gives such a task its next slot when its run is over. While the run lasts the task waits for nothing."""

    def __init__(self, unit: Unit) -> None:
        self._unit = unit
        # Tasks that may wait for a run's end; it may name one too many, never one too few.
        self._watched: set[str] = {row[0] for row in unit.database.run("fixed_delay_runs")}

    def watch(self, task_id: str) -> None:
        """A run of this task was claimed."""
        self._watched.add(task_id)

    def watches(self, task_id: str) -> bool:
        """Whether the end of a run of this task may matter here."""
        return task_id in self._watched

    def follow(self, task_id: str, at_us: int) -> None:
        """A run of the task has ended at `at_us`, or its slot came to nothing: count the interval from there, unless
        another scheduled run of it still waits or the task does not run any more."""
        if task_id not in self._watched:
            return
        task = self._unit.task(task_id)
        if task is None or task.next_run is not None or task.finished or not task.runnable:
            return
        options = decoded(task.options)
        if not options.get("fixed_delay") or self._unit.database.one("scheduled_active", (task_id,)):
            return
        # A run that ended by a clock that has been set back since must not hold up the next one.
        anchor = min(at_us, self._unit.now_us)
        slot = first_slot(parse_schedule(task.schedule, task.timezone), options, anchor, anchor)
        waiting = waiting_for(task._replace(finished=int(slot is None)), slot)
        parameters = (format_rfc3339(anchor), waiting.next_run, waiting.due_at, waiting.finished, task_id)
        self._unit.database.run("follow_run", parameters)
        self._unit.changed(waiting._replace(anchor=format_rfc3339(anchor)))
