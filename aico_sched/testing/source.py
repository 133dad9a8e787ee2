"""Tables in memory, for the tests of tasks that work on AICO's data."""

import copy
from collections.abc import Sequence

from aico_sched.data.source import Change, NoSuchTable, Row, Table


class MemorySource:
    """A `DataSource` whose tables are lists of rows; look at `tables` to see what a task has written.

    Rows without an `id` are numbered from 1.
    """

    def __init__(self, **tables: list[Row]) -> None:
        self.tables: dict[str, list[Row]] = {}
        for name, rows in tables.items():
            self.tables[name] = [{"id": number, **row} for number, row in enumerate(rows, 1)]

    async def page(self, table: Table, after: int, limit: int, *, measured: bool = False) -> list[Row]:
        """See `DataSource`."""
        if table.name not in self.tables:
            raise NoSuchTable(table.name)
        rows = sorted((row for row in self.tables[table.name] if row["id"] > after), key=lambda row: row["id"])[:limit]
        found = [{name: row[name] for name in ("id", *table.columns)} for row in rows]
        if measured:
            for row, whole in zip(found, rows, strict=True):
                row["size"] = sum(len(str(value)) for value in whole.values() if value is not None)
        return found

    async def write(self, changes: Sequence[Change]) -> None:
        """See `DataSource`."""
        tables = copy.deepcopy(self.tables)
        for change in changes:
            rows = tables.setdefault(change.table.name, [])
            for row in change.rows:
                same = [old for old in rows if change.key is not None and old[change.key] == row[change.key]]
                if same:
                    same[0].update(row)
                else:
                    rows.append({"id": max((old["id"] for old in rows), default=0) + 1, **row})
        self.tables = tables

    async def delete(self, table: Table, ids: Sequence[int]) -> int:
        """See `DataSource`."""
        kept = [row for row in self.tables[table.name] if row["id"] not in set(ids)]
        gone = len(self.tables[table.name]) - len(kept)
        self.tables[table.name] = kept
        return gone
