"""Whether a signed message is recent, and has not come before. Pure: the time is an argument, in microseconds."""

from collections import deque
from typing import Final

CAPACITY: Final = 200_000
"""Signatures remembered at most; some 40 MB. Only senders with a key can fill it."""


class ReplayGuard:
    """Remembers what came within `window` seconds around a message's own time. A signature is forgotten only when the
    message would no longer be fresh."""

    def __init__(self, window: float, capacity: int = CAPACITY) -> None:
        self.window, self._capacity = window, capacity
        self._window_us = round(window * 1_000_000)
        self._seen: set[str] = set()
        self._order: deque[tuple[int, str]] = deque()
        self._latest_us = 0

    def __len__(self) -> int:
        return len(self._seen)

    def is_fresh(self, now_us: int, at_us: int) -> bool:
        """Whether a message of `at_us` may be acted on at `now_us`."""
        return abs(now_us - at_us) <= self._window_us

    def has_seen(self, now_us: int, token: str) -> bool:
        """Whether `token` is remembered."""
        self._forget(now_us)
        return token in self._seen

    def remember(self, now_us: int, token: str) -> bool:
        """Remember `token`. False, and it is not, when there is no room."""
        self._forget(now_us)
        if len(self._seen) >= self._capacity:
            return False
        self._seen.add(token)
        # A message may be dated a window ahead, and stays fresh for a window after that.
        self._order.append((self._latest_us + 2 * self._window_us, token))
        return True

    def _forget(self, now_us: int) -> None:
        # A clock that is set back must not make the order of ends wrong, nor forget anything early.
        self._latest_us = max(self._latest_us, now_us)
        while self._order and self._order[0][0] < now_us:
            self._seen.discard(self._order.popleft()[1])
