"""What can go wrong with the database, as types: libSQL itself raises ValueError for everything."""

from pathlib import Path


class StoreError(Exception):
    """Base of the store's errors. `retryable` says whether the same statement may succeed later, `of_database` whether
    it is the database that fails rather than the statement: then the whole turn fails, not the one message."""

    retryable = False
    of_database = False


class StoreBusy(StoreError):
    """Another connection holds the database's write lock."""

    retryable = of_database = True


class StoreFull(StoreError):
    """The disk, or the quota, is full; nothing was written. Free some space."""

    retryable = of_database = True


class NoRoom(StoreError):
    """Work on the whole database needs more room than there is; it was not begun."""

    def __init__(self, what: str, wanted: int, found: int, where: Path) -> None:
        super().__init__(
            f"this needs {wanted // 1_048_576} MiB of free {what}, there are {found // 1_048_576} MiB"
            + (f" on the file system of {where}; make room and try again" if what == "disk" else "; try again later")
        )
        self.what, self.wanted, self.found = what, wanted, found


class StoreReadOnly(StoreError):
    """The database or its folder may not be written."""

    of_database = True


class StoreCorrupt(StoreError):
    """The file is damaged. Stop the service and restore a backup: `aico-sched restore FILE`."""

    of_database = True


class ConstraintViolated(StoreError):
    """A statement broke a rule of the schema."""


class StoreMisused(StoreError):
    """A statement that cannot work: a syntax error, a missing table, a value libSQL cannot hold."""


class CannotOpen(StoreError):
    """The database could not be opened; the message says what to do about it."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"cannot open the database {path}: {reason}")
        self.path, self.reason = path, reason


class CannotWrite(CannotOpen, StoreReadOnly):
    """It could not be opened because its user may not write there."""


class NoRoomToOpen(CannotOpen, StoreFull):
    """It could not be opened because there is no room for what SQLite keeps beside it."""


class WrongKey(CannotOpen):
    """The key does not fit the file, or the file is no database of ours."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            "the key does not fit, or the file is damaged. Use the key it was made with (AICO_SCHED_DATABASE_KEY or "
            "the file store.key_file names), or restore a backup; nothing was changed",
        )


class AlreadyInUse(CannotOpen):
    """Another service has the database; `holder` is its process, where that is known."""

    def __init__(self, path: Path, holder: int | None = None) -> None:
        which = "" if holder is None else f" (process {holder})"
        super().__init__(
            path,
            f"another aico-sched service{which} is using it. Stop that one, give this one a folder of its own with "
            "--data-dir, or let it stand by with --standby",
        )
        self.holder = holder


class LeaseLost(StoreError):
    """Another process schedules from the same database although this one holds a lock; it must stop at once. That
    happens when the lock file was removed, or the folder is on a file system whose locks do not work."""

    def __init__(self, path: Path, held: int, found: int) -> None:
        super().__init__(
            f"another process has taken over the database {path} (lease {found}, ours was {held}); this one ends. "
            "Never remove the file that ends in .lock, and keep the database on a local file system"
        )
        self.path, self.held, self.found = path, held, found


class Damaged(CannotOpen):
    """The key fits, and the file is not whole: it was cut off, or some of it overwritten."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            path,
            "the file is damaged or was cut off. Restore a backup: aico-sched restore FILE; nothing was changed",
        )


class DatabaseLost(CannotOpen):
    """There was a database, and its file is gone or empty; a new one in its place would hide that."""

    def __init__(self, path: Path, marker: Path) -> None:
        super().__init__(
            path,
            "there was a database here, and its file is gone or empty. Put it back (is its disk mounted?) or restore a "
            f"backup: aico-sched restore FILE. To begin with an empty one, remove {marker}",
        )
        self.marker = marker


class SwapUnreadable(CannotOpen):
    """The file that says which database is to take the place of this one is damaged."""

    def __init__(self, path: Path, journal: Path) -> None:
        super().__init__(
            path,
            f"a restore or a change of its key was under way, and {journal} that tells of it is damaged. Move that "
            f"file away to go on with the database as it is; if its key does not fit then, the new one is in the "
            "file beside the old one whose name ends in .staged. Or restore a backup after that",
        )
        self.journal = journal


class NotABackup(StoreError):
    """A file that cannot be restored; nothing was changed."""

    def __init__(self, file: Path, reason: str) -> None:
        super().__init__(f"{file} cannot be restored: {reason}")
        self.file, self.reason = file, reason


class SchemaTooNew(CannotOpen):
    """The database was written by a newer version."""

    def __init__(self, path: Path, found: int, known: int) -> None:
        super().__init__(
            path, f"its schema is version {found}, this program knows up to {known}: install a newer aico-sched"
        )
        self.found, self.known = found, known


_PHRASES: tuple[tuple[str, type[StoreError]], ...] = (
    ("database is locked", StoreBusy),
    ("database table is locked", StoreBusy),
    ("database or disk is full", StoreFull),
    ("disk i/o error", StoreFull),
    ("readonly database", StoreReadOnly),
    ("disk image is malformed", StoreCorrupt),
    ("malformed database schema", StoreCorrupt),
    ("file is not a database", StoreCorrupt),
    # Every text was UTF-8 when it was written.
    ("utf8error", StoreCorrupt),
    ("constraint failed", ConstraintViolated),
)


_ADVICE: dict[type[StoreError], str] = {
    StoreFull: "Make room on the disk",
    StoreReadOnly: "Let this user write to the database and its folder",
    StoreCorrupt: "The file is damaged: stop the service and run aico-sched restore FILE",
}


def translate(error: BaseException) -> StoreError:
    """The typed error for what libSQL raised (ValueError, or a Rust panic); chained by the caller."""
    text = str(error)
    lowered = text.lower()
    for phrase, kind in _PHRASES:
        if phrase in lowered:
            return kind(f"{text}. {_ADVICE[kind]}" if kind in _ADVICE else text)
    return StoreMisused(text)
