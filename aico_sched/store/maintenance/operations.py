"""What a worker does to a database file that nobody else has open. Each raises `StoreError` or `OSError` and then has
changed nothing; each may be killed anywhere without harm."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import psutil

from aico_sched.durable import copy_private, sync_file, sync_folder
from aico_sched.store.errors import NoRoom, StoreCorrupt, StoreError
from aico_sched.store.maintenance import swap
from aico_sched.store.maintenance.job import in_small_steps
from aico_sched.store.maintenance.raw import Raw, counts, findings, fold_log, opened

Say = Callable[..., None]
"""Called as `say(phase, fraction=None, exclusive=True)`: how far it is, and whether the file is still needed alone."""

ANALYSIS_LIMIT = 1_000
_PAGES_A_STEP = 2_000
_SPARE = 16 * 1024 * 1024


def figures(connection: Raw) -> dict[str, int]:
    """Sizes of a database in bytes: the file's, and what of it is free."""
    page = connection.value("PRAGMA page_size")
    return {
        "bytes": page * connection.value("PRAGMA page_count"),
        "free_bytes": page * connection.value("PRAGMA freelist_count"),
    }


def vacuum(path: Path, key: str, options: dict[str, Any], say: Say) -> dict[str, Any]:
    """Rewrite the database without its holes, or cut off what is free if `options` (`mode`, `threshold`) say so, and
    refresh the planner's statistics. Raises `NoRoom` where disk or memory would not do."""
    started = perf_counter()
    with opened(path, key) as connection:
        fold_log(connection)
        before = figures(connection)
        steps = bool(options) and in_small_steps(options, before["free_bytes"] / max(1, before["bytes"]))
        if steps:
            _cut_off(connection, say)
        else:
            _rewrite(connection, path, before["bytes"] - before["free_bytes"], say)
        say("analyze", 0.8)
        connection.run(f"PRAGMA analysis_limit={ANALYSIS_LIMIT}")
        connection.run("PRAGMA optimize=0x10002")
        say("write", 0.9)
        fold_log(connection)
        after = figures(connection)
    return {
        "mode": "incremental" if steps else "full",
        "bytes_before": before["bytes"],
        "bytes_after": after["bytes"],
        "bytes_freed": before["bytes"] - after["bytes"],
        "seconds": perf_counter() - started,
    }


def _rewrite(connection: Raw, path: Path, used: int, say: Say) -> None:
    """In memory, because SQLite's temporary file would be plaintext."""
    _require_disk(path.parent, 2 * used)
    available = psutil.virtual_memory().available
    if used + _SPARE > available:
        raise NoRoom("memory", used + _SPARE, available, path.parent)
    say("vacuum")
    connection.run("PRAGMA auto_vacuum=INCREMENTAL")
    connection.run("VACUUM")


def _cut_off(connection: Raw, say: Say) -> None:
    free = all_free = max(1, connection.value("PRAGMA freelist_count"))
    while free:
        say("vacuum", 0.8 * (1 - free / all_free))
        connection.script(f"PRAGMA incremental_vacuum({_PAGES_A_STEP})")
        left = connection.value("PRAGMA freelist_count")
        if left >= free:
            # A file that was made without auto_vacuum gives nothing back in this way.
            return
        free = left


def check(path: Path, key: str, options: dict[str, Any], say: Say) -> dict[str, Any]:
    """Read every page. `findings` says what is wrong, in SQLite's words."""
    started = perf_counter()
    with opened(path, key) as connection:
        say("integrity_check")
        found = findings(connection)
        size = figures(connection)
    return {"ok": not found, "findings": found, **size, "seconds": perf_counter() - started}


def backup(path: Path, key: str, options: dict[str, Any], say: Say) -> dict[str, Any]:
    """Copy the database to `options["file"]`, which must not exist, and prove that the copy opens and is whole. The
    database itself is free again as soon as it is copied."""
    started = perf_counter()
    target = Path(options["file"])
    refuse_existing(target)
    partial = partial_of(target)
    swap.remove(partial)
    try:
        with opened(path, key) as connection:
            fold_log(connection)
            # Holds off any other program that has the key.
            connection.run("BEGIN IMMEDIATE")
            _require_disk(target.parent, path.stat().st_size)
            copy_private(path, partial, lambda done, total: say("copy", 0.5 * done / max(1, total)))
            connection.run("ROLLBACK")
        copied = perf_counter() - started
        say("verify", 0.5, exclusive=False)
        rows = verify(partial, key)
        _publish(partial, target)
    finally:
        swap.remove(partial)
    size = target.stat().st_size
    return {
        "file": str(target),
        "bytes": size,
        "rows": sum(rows.values()),
        "tables": rows,
        "seconds_exclusive": copied,
        "seconds": perf_counter() - started,
    }


def rekey(path: Path, key: str, options: dict[str, Any], say: Say) -> dict[str, Any]:
    """Encrypt a copy with `options["new_key"]`, prove that it is whole and holds the same rows, and put it and its
    key file (`staged_key` in place of `key_file`) where the old ones were. The old key file is kept as
    `retired_key`. With a file named in `options["backup"]` a backup is made first."""
    started = perf_counter()
    if options["backup"] is not None:
        backup(path, key, {"file": options["backup"]}, lambda phase, *_, **__: say(f"backup: {phase}"))
    copy = swap.incoming(path)
    swap.remove(copy)
    with opened(path, key) as connection:
        fold_log(connection)
        _require_disk(path.parent, 2 * path.stat().st_size)
        # Refused while anybody else has the file open: what they wrote later would go to the file that is replaced.
        connection.run("PRAGMA journal_mode=DELETE")
        connection.run("BEGIN EXCLUSIVE")
        found = findings(connection)
        if found:
            raise StoreCorrupt(f"the database is damaged: {found[0]}")
        rows = counts(connection)
        copy_private(path, copy, lambda done, total: say("copy", 0.4 * done / max(1, total)))
        say("encrypt", 0.4)
        encrypt_anew(copy, key, options["new_key"])
        say("verify", 0.7)
        if verify(copy, options["new_key"]) != rows:
            raise StoreError("the copy with the new key does not hold the same rows; the old one stays in use")
        sync_file(copy)
        sync_folder(copy.parent)
        say("replace", 0.95)
    replacement = swap.Swap(
        str(copy), staged_key=options["staged_key"], key=options["key_file"], retired_key=options["retired_key"]
    )
    swap.begin(path, replacement)
    swap.resolve(path)
    return {"rows": sum(rows.values()), "retired_key": options["retired_key"], "seconds": perf_counter() - started}


def encrypt_anew(copy: Path, key: str, new_key: str) -> None:
    """Give a file of its own another key. Only ever done to a copy: killed in the middle, the file is lost."""
    with opened(copy, key) as connection:
        connection.run("PRAGMA journal_mode=DELETE")
        connection.run(f"PRAGMA hexrekey='{new_key.encode('ascii').hex()}'")


def verify(file: Path, key: str) -> dict[str, int]:
    """Open a copy, read all of it, and return its rows by table. Leaves nothing beside it. Raises `StoreCorrupt`."""
    with opened(file, key) as connection:
        # A copy is one file: without this, reading it would put a log beside it.
        connection.run("PRAGMA journal_mode=DELETE")
        found = findings(connection)
        if found:
            raise StoreCorrupt(f"{file} is damaged: {found[0]}")
        return counts(connection)


def refuse_existing(target: Path) -> None:
    """Raises FileExistsError, or NotADirectoryError where its folder is none."""
    if not target.parent.is_dir():
        raise NotADirectoryError(f"the folder {target.parent} does not exist; make it first")
    if target.exists() or target.is_symlink():
        raise FileExistsError(f"{target} exists already; choose another name, or move it away")


def partial_of(target: Path) -> Path:
    """Where a backup grows until it is proved."""
    return target.with_name(f"{target.name}.partial")


def _publish(partial: Path, target: Path) -> None:
    sync_file(partial)
    try:
        os.link(partial, target)
    except FileExistsError:
        refuse_existing(target)
        raise
    partial.unlink()
    sync_folder(target.parent)


def _require_disk(folder: Path, wanted: int) -> None:
    free = shutil.disk_usage(folder).free
    if free < wanted + _SPARE:
        raise NoRoom("disk", wanted + _SPARE, free, folder)


OPERATIONS: dict[str, Callable[[Path, str, dict[str, Any], Say], dict[str, Any]]] = {
    "vacuum": vacuum,
    "check": check,
    "backup": backup,
    "rekey": rekey,
}
