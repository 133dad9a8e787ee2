"""A file beside the database that says that there is one, so that a lost one is not taken for a first start."""

from pathlib import Path

from aico_sched.durable import write_private
from aico_sched.store.errors import CannotOpen, DatabaseLost

_TEXT = b"There is a database beside this file. Without it, a missing or empty one would be taken for a first start.\n"


def marker(database: Path) -> Path:
    """Where it stands."""
    return database.with_name(f"{database.name}.made")


def check(database: Path) -> None:
    """Raises `DatabaseLost`. A file without content and without a marker is a first start that was interrupted."""
    there = database.exists() and database.stat().st_size > 0
    if not there and marker(database).exists():
        raise DatabaseLost(database, marker(database))


def note(database: Path) -> None:
    """From now on there is one. Raises `CannotOpen` where that cannot be written."""
    if marker(database).exists():
        return
    try:
        write_private(marker(database), _TEXT)
    except OSError as error:
        raise CannotOpen(database, f"{error.strerror}: {marker(database)}") from error
