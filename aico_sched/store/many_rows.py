"""One INSERT for many rows. Pure: it makes statements and parameters.

libSQL prepares a statement anew each time it runs, so what counts is how much there is to read and to bind. A value
that all rows share is bound once. What they do not share goes in as one JSON text, where SQLite can read it without
a loss; else as a list of VALUES.
"""

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache
from itertools import chain, compress
from itertools import count as count_up
from typing import Any, Final

from pydantic_core import to_json

Row = tuple[Any, ...]

_ROWS_AT_ONCE: Final = 100
_FEWEST: Final = 4
"""With fewer rows there is nothing to share."""

_LONGEST: Final = 1_000_000
"""Characters in all; more would be there three times, and escaping them holds the loop."""

_SHORT: Final = 64
"""Bytes of a blob that goes as hexadecimal digits; a longer one goes faster as it is."""

_PLAIN: Final = frozenset({str, int, type(None)})
"""Not float: SQLite's reading of decimals may miss the last bit."""

_FROM_JSON: Final = "SELECT {} FROM json_each(?{}) WHERE true"
"""Without a WHERE, ON CONFLICT would be taken for the ON of a join."""

_ONE_ROW: Final = re.compile(r"VALUES\s*\([?,\s]+\)")


def statements(sql: str, rows: Sequence[Row]) -> Iterator[tuple[str, Row]]:
    """What to run, with its parameters, instead of `sql` (an INSERT of one row, with a VALUES of nothing but places)
    once for each of `rows`. The outcome is the same, also the order in which its RETURNING returns."""
    for start in range(0, len(rows), _ROWS_AT_ONCE):
        part = rows[start : start + _ROWS_AT_ONCE]
        yield (_as_json(sql, part) if len(part) >= _FEWEST else None) or _as_values(sql, part)


def _as_json(sql: str, rows: Sequence[Row]) -> tuple[str, Row] | None:
    """None if what the rows do not share is nothing that JSON can hold as it is."""
    kinds, length = "", 0
    own: list[Row] = []
    shared: list[Any] = []
    for column in zip(*rows, strict=True):
        if _is_shared(column):
            kinds += "s"
            shared.append(column[0])
            continue
        types = set(map(type, column))
        if types <= _PLAIN:
            kinds += "p"
            own.append(column)
            length += sum(len(value) for value in column if type(value) is str)
        elif types == {bytes} and max(map(len, column)) <= _SHORT:
            kinds += "b"
            own.append(tuple(map(bytes.hex, column)))
        else:
            return None
    if not own or length > _LONGEST:
        return None
    try:
        text = to_json(list(zip(*own, strict=True)))
    except ValueError:
        return None  # Half a surrogate pair: as a parameter it is refused with a word about it.
    if rb"\u0000" in text:
        return None
    return _from_json(sql, kinds), (*shared, text.decode())


@lru_cache(maxsize=256)
def _from_json(sql: str, kinds: str) -> str:
    bound, read, columns = count_up(1), count_up(), []
    for kind in kinds:
        if kind == "s":
            columns.append(f"?{next(bound)}")
        else:
            value = f"value->>{next(read)}"
            columns.append(value if kind == "p" else f"unhex({value})")
    return _ONE_ROW.sub(_FROM_JSON.format(", ".join(columns), next(bound)), sql, count=1)


def _as_values(sql: str, rows: Sequence[Row]) -> tuple[str, Row]:
    columns = list(zip(*rows, strict=True))
    shared = tuple(len(rows) >= _FEWEST and _is_shared(column) for column in columns)
    own = [column for column, same in zip(columns, shared, strict=True) if not same]
    parameters = (*compress(rows[0], shared), *chain.from_iterable(zip(*own, strict=True)))
    return _values(sql, len(rows), shared), parameters


@lru_cache(maxsize=1_024)
def _values(sql: str, count: int, shared: tuple[bool, ...]) -> str:
    """The parameters are the values of the columns that are `shared`, then the others of each row."""
    places = count_up(1), count_up(1 + sum(shared))
    first = [f"?{next(places[not each])}" for each in shared]
    other = [place if each else "?" for place, each in zip(first, shared, strict=True)]
    rows = [first, *[other] * (count - 1)]
    return _ONE_ROW.sub("VALUES " + ", ".join(f"({', '.join(row)})" for row in rows), sql, count=1)


def _is_shared(column: Row) -> bool:
    """Whether all rows have the very same value in a column: equal numbers may be of different types."""
    first = column[0]
    return column.count(first) == len(column) and (isinstance(first, str) or len(set(map(type, column))) == 1)
