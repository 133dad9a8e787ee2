"""A real encrypted database with AICO's tables, small or large, from a seeded generator."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import libsql_experimental as libsql
import pytest

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def database(tmp_path: Path) -> Path:
    """An encrypted database that others have in use, in WAL mode."""
    path = tmp_path / "aico.db"
    connection = libsql.connect(str(path), encryption_key=KEY, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL").fetchall()
    connection.execute("CREATE TABLE notes (id INTEGER PRIMARY KEY, word TEXT, body BLOB)")
    connection.close()
    return path


@pytest.fixture
def sql(database: Path) -> Iterator[Callable[..., list[Any]]]:
    """Runs a statement on a second connection, as AICO itself would."""
    connection = libsql.connect(str(database), encryption_key=KEY, isolation_level=None)

    def run(statement: str, parameters: tuple[Any, ...] = ()) -> list[Any]:
        return connection.execute(statement, parameters).fetchall() or []

    yield run
    connection.close()
