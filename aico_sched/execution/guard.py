"""What guards the event loop against what runs on it: the watch, and a gate at the checkpoints of running tasks."""

import asyncio
from typing import Any

from aico_sched.execution.watch import LoopWatch


class CheckpointGate:
    """Holds tasks at their checkpoints while it is shut."""

    def __init__(self) -> None:
        self._open = asyncio.Event()
        self._open.set()
        self.holding = 0

    @property
    def is_open(self) -> bool:
        return self._open.is_set()

    def shut(self) -> None:
        """Hold whoever comes from now on."""
        self._open.clear()

    def open(self) -> None:
        """Let all go on."""
        self._open.set()

    async def passed(self) -> None:
        """Until the gate is open."""
        if self._open.is_set():
            return
        self.holding += 1
        try:
            await self._open.wait()
        finally:
            self.holding -= 1


class LoopGuard:
    """Both; they outlive restarts of the executor, as the tasks do that they guard against."""

    def __init__(self, watch: LoopWatch) -> None:
        self.watch = watch
        self.gate = CheckpointGate()

    def report(self) -> dict[str, Any]:
        """Stalls by cause, the longest in seconds, and how many tasks hold at a checkpoint."""
        watch = self.watch
        return {"stalls": dict(watch.figures), "longest_stall_seconds": watch.longest, "holding": self.gate.holding}
