"""Becoming somebody else: what a child of root gives up before it runs code nobody vouches for."""

import os
from collections.abc import Iterable
from pathlib import Path

from aico_sched.execution.sandbox import libc


def separate_network() -> None:
    """Into a network with nothing in it, and IPC of its own. Needs root; raises OSError."""
    libc.unshare(libc.CLONE_NEWNET | libc.CLONE_NEWIPC)


def become(uid: int, must_reach: Iterable[str], *, files_are_guarded: bool) -> None:
    """Become the user `uid`, without groups and without capabilities.

    Where folders on the way to `must_reach` are closed to others (a home folder of root is), the right to pass
    through them is kept, if `files_are_guarded` by rules of their own. Raises OSError, PermissionError if that would
    leave the code or the data out of reach.
    """
    blocked = next((path for path in must_reach if not _open_to_others(path)), None)
    if blocked is not None and not files_are_guarded:
        raise PermissionError(f"{blocked} lies in a folder that is closed to the sandbox's user {uid}")
    libc.prctl(libc.PR_SET_KEEPCAPS, 1)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    libc.keep_only(0 if blocked is None else 1 << libc.CAP_DAC_READ_SEARCH)
    libc.prctl(libc.PR_SET_KEEPCAPS, 0)


def _open_to_others(path: str) -> bool:
    """Whether everybody may pass through the folders that lead to `path`, links followed."""
    return all(parent.stat().st_mode & 0o001 for parent in Path(path).resolve().parents)
