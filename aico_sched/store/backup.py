"""Backup and restore of a database that no service has open."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final, NamedTuple, Protocol

from aico_sched.durable import copy_private, sync_file, sync_folder
from aico_sched.store.errors import NotABackup, SchemaTooNew, StoreCorrupt, WrongKey
from aico_sched.store.lock import DatabaseLock
from aico_sched.store.maintenance import swap
from aico_sched.store.maintenance.operations import Say, backup, encrypt_anew, verify
from aico_sched.store.maintenance.raw import opened
from aico_sched.store.named_sql import migrations

_PUT_THE_KEY_BACK: Final = "Put the key it was made with where store.key_source says, and try again"


class Keys(Protocol):
    """The database's key, made if need be or only as it is kept, and those it had before."""

    def current(self) -> str: ...
    def kept(self) -> str | None: ...
    def former(self) -> list[str]: ...


class Restored(NamedTuple):
    """What `restore` did. `aside` keeps the database that was there, None if there was none."""

    database: Path
    aside: Path | None
    rows: int
    with_former_key: bool


@contextmanager
def _locked(database: Path) -> Iterator[None]:
    """Keep every service away for the length of a block. Raises `AlreadyInUse`."""
    lock = DatabaseLock.take(database)
    try:
        yield
    finally:
        lock.release()


def backup_offline(database: Path, keys: Keys, target: Path, say: Say) -> dict[str, Any]:
    """Copy the database to `target` and prove the copy, keeping every service out meanwhile. Raises `AlreadyInUse`
    while one runs, else as `maintenance.operations.backup`."""
    with _locked(database):
        swap.resolve(database)
        return backup(database, keys.current(), {"file": str(target)}, say)


def restore(database: Path, keys: Keys, file: Path) -> Restored:
    """Put the backup `file` in the place of the database, encrypted with the key in use now. It is proved first, on a
    copy; what was there is kept beside it. Raises `AlreadyInUse`, `NotABackup`, `WrongKey` or `StoreCorrupt`, and then
    nothing has changed. Killed at any point, either database is there, whole."""
    if not file.is_file():
        raise NotABackup(file, "there is no such file")
    kept = keys.kept()
    candidates = [key for key in (kept, *keys.former()) if key is not None]
    if not candidates:
        raise NotABackup(file, f"there is no key here to open it with. {_PUT_THE_KEY_BACK}")
    with _locked(database):
        swap.resolve(database)
        arriving = swap.incoming(database)
        try:
            copy_private(file, arriving)
            fitting = _fitting(file, arriving, candidates)
            rows = _proved(file, arriving, fitting)
            # One is made only when it is certain to be used.
            key = keys.current()
            if fitting != key:
                encrypt_anew(arriving, fitting, key)
                rows = _proved(file, arriving, key)
            sync_file(arriving)
            sync_folder(arriving.parent)
        except BaseException:
            swap.remove(arriving)
            raise
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%fZ")
        aside = database.with_name(f"{database.name}.replaced-{stamp}") if database.exists() else None
        swap.begin(database, swap.Swap(str(arriving), aside=None if aside is None else str(aside)))
        swap.resolve(database)
    return Restored(database, aside, rows, fitting != key)


def _fitting(file: Path, copy: Path, candidates: list[str]) -> str:
    for key in candidates:
        try:
            with opened(copy, key):
                return key
        except WrongKey:
            continue
    raise NotABackup(
        file, f"no known key opens it. Either it is damaged, or it was made with another key. {_PUT_THE_KEY_BACK}"
    )


def _proved(file: Path, copy: Path, key: str) -> int:
    """The rows of a copy that is a whole database of ours."""
    try:
        rows = verify(copy, key)
        if "scheduler_schema" not in rows:
            raise NotABackup(file, "it is a database, but none of this scheduler's")
        with opened(copy, key) as connection:
            version = connection.value("SELECT max(version) FROM scheduler_schema")
    except StoreCorrupt as error:
        raise NotABackup(file, f"it is damaged ({error}); use an older one") from error
    if version > migrations()[-1][0]:
        raise SchemaTooNew(file, version, migrations()[-1][0])
    return sum(rows.values())
