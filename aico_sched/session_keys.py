"""Rotating the keys of the bus while it runs: files in a thread, then the word to the broker."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path

from aico_sched.security.keys import KeyRing, UnknownKey
from aico_sched.tasks.session_keys import SessionKey

DAY = 86_400.0


class RingKeys:
    """The `SessionKeys` of a key folder. `now` is the wall time in seconds, `overlap` what the settings say, in
    seconds; `reload` makes the bus read the folder again."""

    def __init__(
        self, folder: Path, now: Callable[[], float], overlap: float, reload: Callable[[], Awaitable[object]]
    ) -> None:
        self._folder, self._now, self._overlap, self._reload = folder, now, overlap, reload

    async def current(self) -> list[SessionKey]:
        """See `SessionKeys`."""
        ring = self._ring()
        await asyncio.to_thread(ring.reload)
        return [SessionKey(key.name, key.role, key.created or 0.0) for key in ring.list() if key.current]

    async def rotate(self, name: str, overlap: float | None) -> bool:
        """See `SessionKeys`."""
        try:
            # A thread that was begun goes through with it; the watch then notices.
            await asyncio.to_thread(self._ring().rotate, name, self._overlap if overlap is None else overlap)
        except UnknownKey:
            return False
        await self._reload()
        return True

    def _ring(self) -> KeyRing:
        """One of its own for each thread: the broker's is the loop's."""
        return KeyRing(self._folder, self._now)
