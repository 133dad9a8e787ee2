"""Notices that the key folder changed (`aico-sched keys create` and `revoke` run in another process)."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

import structlog

from aico_sched.clock import Clock
from aico_sched.logs import described

log = structlog.get_logger(__name__)

CHECK_SECONDS: Final = 1.0


class KeyWatch:
    """Calls `reload` after a change in `folders`, or when a key has `expired`, within about a second. Between `start`
    and `stop` it owns a task; a reload that fails is logged and tried again with the next look."""

    def __init__(
        self,
        folders: tuple[Path, ...],
        reload: Callable[[], Awaitable[object]],
        clock: Clock,
        expired: Callable[[], bool] = bool,
    ) -> None:
        self._folders, self._reload, self._clock, self._expired = folders, reload, clock, expired
        self._seen = self._state()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to look."""
        self._task = asyncio.create_task(self._run(), name="key-watch")

    async def stop(self) -> None:
        """Look no more. Harmless when repeated."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    async def look(self) -> bool:
        """Reload if something has changed; whether it had."""
        state = self._state()
        if state == self._seen and not self._expired():
            return False
        await self._reload()
        # Only now: a reload that raises is tried again.
        self._seen = state
        return True

    async def _run(self) -> None:
        while True:
            await self._clock.sleep(CHECK_SECONDS)
            try:
                if await self.look():
                    log.info("keys_reloaded")
            except Exception as error:
                log.error("keys_not_reloaded", **described(error))

    def _state(self) -> tuple[int, ...]:
        """A folder's modification time moves whenever a file in it comes, goes or is replaced."""
        return tuple(folder.stat().st_mtime_ns if folder.exists() else 0 for folder in self._folders)
