"""How busy the machine is with other programs while something is measured: whether its raw figures can be believed."""

from __future__ import annotations

import os
import time
from contextlib import suppress

import psutil


class Others:
    """Begins to watch when it is made."""

    def __init__(self) -> None:
        self._began, self._all, self._ours = time.perf_counter(), _used_by_all(), _used_by_us()

    @property
    def percent(self) -> float:
        """Of the machine's processors since then, what neither this process nor those it has started have used."""
        seconds = (time.perf_counter() - self._began) * (os.cpu_count() or 1)
        used = (_used_by_all() - self._all) - (_used_by_us() - self._ours)
        return 100.0 * max(0.0, used) / seconds


def _used_by_all() -> float:
    times = psutil.cpu_times()
    return float(sum(times) - times.idle - getattr(times, "iowait", 0.0) - getattr(times, "guest", 0.0))


def _used_by_us() -> float:
    ours = os.times()
    used = ours.user + ours.system + ours.children_user + ours.children_system
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = child.cpu_times()
            used += times.user + times.system + times.children_user + times.children_system
    return used
