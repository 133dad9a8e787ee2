"""What the peers' programs share. Standard library only: each program runs in its peer's own virtual environment.

A program is called with one JSON object, `{"measure": NAME, …arguments}`, and prints one JSON object as its last line.
Times are seconds, `late` is how long after its time a run's code began.
"""

from __future__ import annotations

import gc
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

TASK_SECONDS = 0.02
"""How long a run of the measure `kill` takes: long enough to be cut off."""

AT_ONCE = 10
"""So many of them run at one time."""

Result = dict[str, Any]

LATE: list[float] = []
ENDED: list[float] = []


def began(due: float) -> None:
    """A run that was due at the wall time `due` says that its code has begun."""
    LATE.append(time.time() - due)


def ended() -> None:
    """A run says that its code has ended."""
    ENDED.append(time.time())


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest of `values` that `share` of them do not exceed."""
    ranked = sorted(values)
    return ranked[max(0, math.ceil(len(ranked) * share) - 1)] if ranked else math.nan


def lateness(due: float | None = None) -> Result:
    """The figures of all runs; with the instant `due` of a burst also runs a second."""
    found = {"ran": len(LATE), "p50": percentile(LATE, 0.5), "p99": percentile(LATE, 0.99), "max": percentile(LATE, 1)}
    if due is not None:
        found["rate"] = len(ENDED) / (max(ENDED, default=math.nan) - due)
    return found


def times(call: Callable[[int], object], count: int) -> Result:
    """Percentiles and rate of `count` calls, one after the other."""
    took, first = [], time.perf_counter()
    for number in range(count):
        start = time.perf_counter()
        call(number)
        took.append(time.perf_counter() - start)
    return {
        "rate": count / (time.perf_counter() - first),
        "p50": percentile(took, 0.5),
        "p99": percentile(took, 0.99),
        "max": max(took),
    }


def megabytes() -> float:
    """This process's resident memory."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def since_start_of_process() -> float:
    """Seconds since the kernel started this process."""
    with Path("/proc/self/stat").open(encoding="ascii") as stat:
        ticks = int(stat.read().rpartition(")")[2].split()[19])
    return time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")


class Pauses:
    """Listens to the garbage collector: how long each collection held the interpreter."""

    def __init__(self) -> None:
        self.seconds: list[float] = []
        self._began = 0.0

    def __call__(self, phase: str, _: dict[str, int]) -> None:
        if phase == "start":
            self._began = time.perf_counter()
        else:
            self.seconds.append(time.perf_counter() - self._began)

    def listen(self) -> None:
        gc.callbacks.append(self)

    def result(self) -> Result:
        return {"max": max(self.seconds, default=0.0), "collections": len(self.seconds), "sum": sum(self.seconds)}


def note(log: str, name: str) -> None:
    """One line as one append, which the kernel keeps when the process is killed."""
    descriptor = os.open(log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, f"{name}\n".encode())
    finally:
        os.close(descriptor)


def main(measures: dict[str, Callable[..., Result | None]]) -> None:
    """Carry out what the first argument asks for."""
    asked = json.loads(sys.argv[1])
    print(json.dumps(measures[asked.pop("measure")](**asked)), flush=True)
