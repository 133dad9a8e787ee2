"""The child process: one operation on one database.

It reads one JSON line, `{operation, path, key, options}`, from standard input, so that no key is ever in its arguments
or environment, and writes JSON lines: `{phase, fraction, exclusive}` as it goes, last `{result}` or
`{error: {type, message}}`. It dies with its parent; killed anywhere it leaves the database whole.
"""

import ctypes
import json
import os
import signal
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil

from aico_sched.durable import sync_file, sync_folder
from aico_sched.store.errors import StoreError

_PR_SET_PDEATHSIG = 1

NICENESS = 10
LOWEST = 7
"""The last of the eight places within the usual class of the disk."""


def main() -> int:
    """Do what standard input says. Returns the exit code: 0 when there is a result."""
    _die_with_parent()
    _give_way()
    request = json.loads(sys.stdin.readline())
    # A worker that was orphaned before it could ask to be told has nobody to work for.
    if os.getppid() != request["parent"]:
        return 1
    from aico_sched.store.maintenance.operations import OPERATIONS  # noqa: PLC0415

    path = Path(request["path"])
    try:
        operation = OPERATIONS[request["operation"]]
        said = {"result": operation(path, request["key"], request["options"], _say)}
    except (StoreError, OSError) as error:
        said = {"error": {"type": type(error).__name__, "message": _said(error)}}
    _settle(path)
    _write(said)
    return 0 if "result" in said else 1


def _settle(path: Path) -> None:
    """Wait here for the disk, where no event loop stands still meanwhile: opening a database after half a gigabyte was
    written beside it took 0.4 s, waiting for the file system's journal."""
    with suppress(OSError):
        sync_file(path)
        sync_folder(path.parent)


def _said(error: Exception) -> str:
    if isinstance(error, OSError) and error.errno:
        return f"{error.strerror}: {error.filename or 'while writing'}"
    return str(error)


def _say(phase: str, fraction: float | None = None, exclusive: bool = True) -> None:
    _write({"phase": phase, "fraction": fraction, "exclusive": exclusive})


def _write(line: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(line) + "\n")
    sys.stdout.flush()


def _give_way() -> None:
    """Let the service and everything else on the machine go first, for the processor and for the disk. Not with the
    idle class of the disk: on a busy machine that could hold up for ever the commands that wait for the end."""
    os.nice(NICENESS)
    if sys.platform == "linux":
        psutil.Process().ionice(psutil.IOPRIO_CLASS_BE, LOWEST)


def _die_with_parent() -> None:
    """Linux only; elsewhere the inherited lock keeps a new service out until this process has ended."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


if __name__ == "__main__":
    sys.exit(main())
