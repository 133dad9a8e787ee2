"""Recent executions in memory, for the questions asked most: what became of the run I have just started?"""

from collections import OrderedDict

from aico_sched.execution.states import FINAL
from aico_sched.store.records import ExecutionRow


class RecentExecutions:
    """The newest ended executions that were asked for, at most `limit`. One that has ended stays as it is, unless it
    is revived, which `forget` must be told."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._rows: OrderedDict[str, ExecutionRow] = OrderedDict()
        self._hits = self._misses = 0

    def get(self, execution_id: str) -> ExecutionRow | None:
        """The row, if it is here."""
        row = self._rows.get(execution_id)
        if row is None:
            self._misses += 1
            return None
        self._hits += 1
        self._rows.move_to_end(execution_id)
        return row

    def put(self, row: ExecutionRow) -> None:
        """Keep a row that was read, if it will not change any more."""
        if row.status in FINAL:
            self._rows[row.execution_id] = row
            if len(self._rows) > self._limit:
                self._rows.popitem(last=False)

    def forget(self, execution_id: str) -> None:
        """The execution goes on after all."""
        self._rows.pop(execution_id, None)

    def clear(self) -> None:
        """Forget everything; after a transaction that was rolled back."""
        self._rows.clear()

    def stats(self) -> dict[str, int]:
        """Hits, misses, entries and room."""
        return {"hits": self._hits, "misses": self._misses, "size": len(self._rows), "maxsize": self._limit}
