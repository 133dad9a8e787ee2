"""How long executions are kept: by age, by number and by the size of the database, the oldest going first.

Dead letters stay, and each task's newest rows, so that nobody asks in vain what a task did last. Of a deleted task
nothing need stay: its own row goes when it has no history any more.
"""

import json
from dataclasses import dataclass

from aico_sched.schedule import format_rfc3339
from aico_sched.store.unit import Unit

WINDOW = 200
"""Rows looked at in one turn: some milliseconds of the loop."""

COUNT_WINDOW = 10_000
SWEEP_US = 600 * 1_000_000
"""Between the end of one sweep and the start of the next, unless there is much that is new."""

OVERSHOOT = 20
"""There may be so much more than the limit of rows: one in twenty."""

DELETED_FOR_US = 3_600 * 1_000_000
"""How long a deleted task's row stays in any case: who creates the task anew soon goes on with its revisions."""

DAY_US = 86_400 * 1_000_000
MEGABYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class HistoryLimits:
    """What is kept at most: days, rows, and megabytes of the whole database; at least `keep` rows of each task."""

    days: float
    rows: int
    megabytes: int
    keep: int


class Retention:
    """Sweeps through the executions from the oldest on, a window a turn. First it counts them, also in windows."""

    def __init__(self, unit: Unit, limits: HistoryLimits) -> None:
        self._unit, self._limits = unit, limits
        self._next_sweep_us = 0
        self._counting = True
        self._cursor = self._rows = 0
        self._rested_at = unit.executions_made
        # None while executions are swept, then where the sweep through deleted tasks stands.
        self._deleted: str | None = None
        self.forgotten = 0

    def step(self) -> bool:
        """A window's worth of work, in the transaction that is open. Returns whether there is more right away."""
        much = self._unit.executions_made - self._rested_at > max(WINDOW, self._limits.rows // OVERSHOOT)
        if self._unit.now_us < self._next_sweep_us and not much:
            return False
        if self._deleted is not None:
            return self._forget_tasks(self._deleted)
        if self._counting:
            self._count()
            return True
        return self._forget()

    def _count(self) -> None:
        found, last = self._unit.database.run("count_history", (self._cursor, COUNT_WINDOW))[0]
        self._rows += found
        self._cursor = last
        if found < COUNT_WINDOW:
            self._counting, self._cursor = False, 0

    def _forget(self) -> bool:
        database, limits = self._unit.database, self._limits
        last, newest = database.run("history_window", (self._cursor, WINDOW))[0]
        if not last:
            return self._go_on_with_tasks()
        cutoff = format_rfc3339(self._unit.now_us - int(limits.days * DAY_US))
        excess = self._rows - limits.rows
        crowded = database.size() - database.free_bytes() > limits.megabytes * MEGABYTE
        if excess <= 0 and not crowded and newest >= cutoff:
            # The rest of this window may still hold what is too old; what comes after is younger.
            self._drop(last, cutoff, WINDOW)
            return self._go_on_with_tasks()
        if crowded or excess > 0:
            self._drop(last, self._unit.now, WINDOW if crowded else min(WINDOW, excess))
        else:
            self._drop(last, cutoff, WINDOW)
        self._cursor = last
        return True

    def _drop(self, last: int, before: str, most: int) -> None:
        database = self._unit.database
        gone = [row[0] for row in database.run("forget_history", (self._cursor, last, before, self._limits.keep, most))]
        if not gone:
            return
        database.run("forget_attempts", (json.dumps(gone),))
        for execution_id in gone:
            self._unit.recent.forget(execution_id)
        self._rows -= len(gone)
        self.forgotten += len(gone)

    def _go_on_with_tasks(self) -> bool:
        self._deleted = ""
        return True

    def _forget_tasks(self, after: str) -> bool:
        """A window of the tasks that were deleted `after` that moment."""
        database, before = self._unit.database, format_rfc3339(self._unit.now_us - DELETED_FOR_US)
        last = database.run("deleted_window", (after, before, WINDOW))[0][0]
        if not last:
            return self._rest()
        database.run("forget_tasks", (after, last))
        self._deleted = last
        return True

    def _rest(self) -> bool:
        self.reset()
        self._next_sweep_us = self._unit.now_us + SWEEP_US
        self._rested_at = self._unit.executions_made
        return False

    def reset(self) -> None:
        """The transaction was rolled back: begin the sweep anew."""
        self._counting, self._cursor, self._rows = True, 0, 0
        self._deleted = None
