"""Which SQL a task may run. Pure text work; which tables a statement touches is asked of SQLite (`tables_touched`)."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

MAX_SQL_BYTES: Final = 64 * 1024
MAX_PARAMETERS: Final = 1_000

_READS: Final = frozenset({"SELECT", "WITH", "VALUES"})
_WRITES: Final = frozenset({"INSERT", "REPLACE", "UPDATE", "DELETE"})
_OURS: Final = re.compile(r"(?i)^(scheduler_|sqlite_|scheduled_tasks$|task_executions$|task_attempts$)")
_NO_WORDS: Final = re.compile(
    r"'(?:[^']|'')*'|\"(?:[^\"]|\"\")*\"|`[^`]*`|\[[^\]]*\]|--[^\n]*|/\*.*?(?:\*/|\Z)", re.DOTALL
)
_WORD: Final = re.compile(r"[A-Za-z_]+")
_ROOT_IN: Final = {"OpenRead": 3, "OpenWrite": 3, "ReopenIdx": 3, "Clear": 2, "Destroy": 2}
"""Where in a row of EXPLAIN a root page stands, by the row's operation. A DELETE of everything clears, not opens."""


class Refused(Exception):
    """The statement is none a task may run."""


def check_read(sql: str, parameters: Sequence[Any]) -> None:
    """Raises `Refused` unless `sql` is one statement that reads."""
    words = _checked(sql, parameters)
    if words[0] not in _READS:
        raise Refused(f"a query begins with SELECT, WITH or VALUES, not with {words[0]}")


def check_write(sql: str, parameters: Sequence[Any]) -> None:
    """Raises `Refused` unless `sql` is one statement that changes rows of one table, without looking at another."""
    words = _checked(sql, parameters)
    if words[0] not in _WRITES:
        raise Refused(f"a change begins with INSERT, REPLACE, UPDATE or DELETE, not with {words[0]}")
    # Also nothing that would undo what others did in the same transaction.
    long = sorted({"SELECT", "WITH", "RETURNING", "ROLLBACK"} & set(words))
    if long or (words[0] == "UPDATE" and "FROM" in words):
        what = long[0] if long else "FROM"
        raise Refused(f"a change must be short: no {what} in it; read first, with context.query")


def check_tables(tables: Iterable[str], *, may_touch_ours: bool) -> None:
    """Raises `Refused` if one of `tables` is the scheduler's own, unless that is allowed."""
    ours = sorted(table for table in tables if _OURS.match(table))
    if ours and not may_touch_ours:
        raise Refused(f"the table {ours[0]} is the scheduler's own; only system tasks may use it")


def tables_touched(plan: Iterable[Sequence[Any]], roots: Mapping[int, str]) -> set[str]:
    """The tables a statement opens, its triggers' included. `plan` are the rows of EXPLAIN, `roots` tells the table
    of a root page, its indexes' too (`sqlite_master`, whose own root is page 1)."""
    pages = {int(row[_ROOT_IN[row[1]]]) for row in plan if row[1] in _ROOT_IN}
    return {roots.get(page, "sqlite_master") for page in pages}


def _checked(sql: str, parameters: Sequence[Any]) -> list[str]:
    if len(sql.encode(errors="replace")) > MAX_SQL_BYTES or "\0" in sql:
        raise Refused(f"a statement has at most {MAX_SQL_BYTES} bytes, and no NUL")
    if len(parameters) > MAX_PARAMETERS:
        raise Refused(f"a statement has at most {MAX_PARAMETERS} parameters")
    for value in parameters:
        if not (value is None or isinstance(value, int | float | str | bytes)):
            raise Refused(f"a parameter is a number, a text, bytes or None, not {type(value).__name__}")
        if isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise Refused("a whole number has at most 64 bits")
    plain = _NO_WORDS.sub(" ", sql).strip()
    if ";" in plain.rstrip("; \n\t"):
        raise Refused("one statement at a time")
    words = [word.upper() for word in _WORD.findall(plain)]
    if not words:
        raise Refused("an empty statement")
    return words
