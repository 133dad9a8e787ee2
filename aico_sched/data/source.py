"""What a task sees of AICO's data. Implement `DataSource` to feed the agency's tasks from somewhere else."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,62}")

Row = dict[str, Any]
"""A row by column: numbers, text, bytes or None."""


class SourceError(Exception):
    """The data cannot be read or written now."""


class NothingThere(SourceError):
    """What was asked for does not exist, and cannot be waited for: a database, a table."""


class NoSuchTable(NothingThere):
    """The source has no table of this name, or it lacks a column. `table` is the name asked for."""

    def __init__(self, table: str, detail: str = "") -> None:
        super().__init__(detail or f"there is no table {table}")
        self.table = table


@dataclass(frozen=True, slots=True)
class Table:
    """A table as a task needs it: its name, and the columns that are used with their SQL types. Rows are numbered by
    the integer column `id`, which every table has besides; newer rows have higher numbers.

    Raises ValueError for a name that is no plain SQL identifier.
    """

    name: str
    columns: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in (self.name, *self.columns):
            if not _IDENTIFIER.fullmatch(name):
                raise ValueError(f"{name!r} is no name of a table or column")


@dataclass(frozen=True, slots=True)
class Change:
    """Rows to write. With `key` a row replaces the one that has the same value in that column."""

    table: Table
    rows: Sequence[Row]
    key: str | None = None


class DataSource(Protocol):
    """Tables to read in pages and to write in transactions. Every method may raise `SourceError`.

    Nothing here blocks the event loop, and everything may be cancelled at any moment: a write has then happened whole
    or not at all.
    """

    async def page(self, table: Table, after: int, limit: int, *, measured: bool = False) -> list[Row]:
        """The first `limit` rows whose `id` is above `after`, by `id`, with `id` and the table's columns. With
        `measured` each has also `size`, the characters and bytes of all its columns together. Raises `NoSuchTable`."""

    async def write(self, changes: Sequence[Change]) -> None:
        """Write all of `changes` in one transaction; a table that is not there is made."""

    async def delete(self, table: Table, ids: Sequence[int]) -> int:
        """Delete these rows in one transaction, and say how many there were."""
