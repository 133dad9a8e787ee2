"""Put on a service's path by the benchmark of pauses, which Python imports by itself: when the process ends, it writes
when each garbage collection ended (wall time) and how long it took (seconds) into the file `AICO_BENCH_PAUSES`."""

from __future__ import annotations

import atexit
import gc
import json
import os
import time
from pathlib import Path

PAUSES: list[tuple[float, float]] = []
_began = 0.0


def _listen(phase: str, _: dict[str, int]) -> None:
    global _began  # noqa: PLW0603
    if phase == "start":
        _began = time.perf_counter()
    else:
        PAUSES.append((time.time(), time.perf_counter() - _began))


def _report(place: str) -> None:
    # Only the service itself: what it starts has its environment too.
    if os.getpid() == _OWNER:
        Path(place).write_text(json.dumps(PAUSES), encoding="utf-8")


_OWNER = os.getpid()
if place := os.environ.pop("AICO_BENCH_PAUSES", None):
    gc.callbacks.append(_listen)
    atexit.register(_report, place)
