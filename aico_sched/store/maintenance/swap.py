"""Putting another file in the place of the database, so that a kill at any point leaves one database and its key.

What is to happen is written down first, in `<database>.swap`. From then on it is done to the end, by whoever comes
next: each step may be repeated. Before that nothing has happened. Whoever opens the database calls `resolve` first,
holding the lock.
"""

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from aico_sched.durable import sync_folder, write_private
from aico_sched.store.errors import SwapUnreadable

SIDES = ("-wal", "-shm", "-journal")
"""What SQLite keeps beside a database. Replayed onto another file, such a log would destroy it."""


@dataclass(frozen=True, slots=True)
class Swap:
    """`incoming` takes the place of the database, which is kept as `aside` where that is given. With `staged_key` the
    key file `key` is replaced too, and kept as `retired_key`. All are absolute paths."""

    incoming: str
    aside: str | None = None
    staged_key: str | None = None
    key: str | None = None
    retired_key: str | None = None


def journal(database: Path) -> Path:
    """Where a swap is written down."""
    return database.with_name(f"{database.name}.swap")


def incoming(database: Path) -> Path:
    """Where the file is made that is to take the database's place."""
    return database.with_name(f"{database.name}.incoming")


def sides(database: Path) -> list[Path]:
    """The files SQLite may have beside `database`."""
    return [database.with_name(database.name + side) for side in SIDES]


def remove(database: Path) -> None:
    """Delete a database and what is beside it, as far as they exist."""
    for path in (database, *sides(database)):
        path.unlink(missing_ok=True)


def begin(database: Path, swap: Swap) -> None:
    """Decide it: `swap.incoming` must be verified and on the disk."""
    write_private(journal(database), json.dumps(asdict(swap)).encode())


def resolve(database: Path) -> bool:
    """Finish a swap that was decided, or clear away what was not. Returns whether there was one to finish. The caller
    holds the lock, and no connection is open. Raises `SwapUnreadable`, and then nothing has changed."""
    written = journal(database)
    if not written.exists():
        remove(incoming(database))
        return False
    _finish(database, _read(database, written))
    written.unlink()
    sync_folder(database.parent)
    return True


def _read(database: Path, written: Path) -> Swap:
    try:
        return Swap(**json.loads(written.read_bytes()))
    except (ValueError, TypeError) as error:
        raise SwapUnreadable(database, written) from error


def _finish(database: Path, swap: Swap) -> None:
    arriving = Path(swap.incoming)
    if arriving.exists():
        _set_aside(database, None if swap.aside is None else Path(swap.aside))
        arriving.replace(database)
        sync_folder(database.parent)
    if swap.key is not None and swap.staged_key is not None and Path(swap.staged_key).exists():
        key = Path(swap.key)
        if swap.retired_key is not None:
            _link(key, Path(swap.retired_key))
        Path(swap.staged_key).replace(key)
        sync_folder(key.parent)


def _set_aside(database: Path, aside: Path | None) -> None:
    """Keep the database under another name, and take its log out of the way of the one that comes."""
    if aside is not None and database.exists():
        _link(database, aside)
    for side in sides(database):
        if not side.exists():
            continue
        if aside is None:
            side.unlink()
        else:
            side.replace(aside.with_name(aside.name + side.name.removeprefix(database.name)))
    sync_folder(database.parent)


def _link(existing: Path, name: Path) -> None:
    try:
        os.link(existing, name)
    except FileExistsError:
        # An earlier, interrupted try was here already.
        return
    sync_folder(name.parent)
