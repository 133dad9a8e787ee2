"""Resource limits (setrlimit) of this process, counted from what it uses already."""

import math
import os
import resource
import time
from pathlib import Path

from aico_sched.execution.sandbox.policy import MEGABYTE, Limits, Policy

THREADS = 64
"""Threads and processes one sandboxed run may add to those its user has."""
OPEN_FILES = 256
CPU_GRACE = 2
"""Seconds between the signal that ends a run that used up its CPU time and the one no process can refuse."""


def limit(limits: Limits) -> None:
    """Hold this process to its memory and CPU time."""
    if limits.memory_mb is not None:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        lower(resource.RLIMIT_AS, pages * resource.getpagesize() + limits.memory_mb * MEGABYTE)
    if limits.cpu_seconds is not None:
        soft = math.ceil(time.process_time()) + limits.cpu_seconds
        _set(resource.RLIMIT_CPU, soft, soft + CPU_GRACE)


def limit_sandbox(policy: Policy) -> None:
    """The limits that go with a sandbox: files, threads, no core dumps."""
    lower(resource.RLIMIT_FSIZE, policy.disk_mb * MEGABYTE)
    lower(resource.RLIMIT_NOFILE, OPEN_FILES)
    lower(resource.RLIMIT_CORE, 0)
    lower(resource.RLIMIT_MEMLOCK, 0)
    lower(resource.RLIMIT_MSGQUEUE, 0)
    owner = policy.uid if policy.uid is not None and os.geteuid() == 0 else os.getuid()
    lower(resource.RLIMIT_NPROC, _threads_of(owner) + THREADS)


def lower(what: int, value: int) -> None:
    """Set soft and hard limit, but never above what is in force."""
    _set(what, value, value)


def _set(what: int, soft: int, hard: int) -> None:
    _, allowed = resource.getrlimit(what)
    if allowed != resource.RLIM_INFINITY:
        soft, hard = min(soft, allowed), min(hard, allowed)
    resource.setrlimit(what, (soft, hard))


def _threads_of(uid: int) -> int:
    """How many threads the user has: `RLIMIT_NPROC` counts those of all the user's processes."""
    count = 0
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and entry.stat().st_uid == uid:
                status = (entry / "status").read_text(encoding="utf-8", errors="replace")
                count += int(status.partition("\nThreads:")[2].split()[0])
        except (OSError, IndexError, ValueError):
            # It has ended since.
            continue
    return count
