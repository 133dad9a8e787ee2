"""What the broker refuses and why, counted all and reported at a bounded rate."""

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from typing import Final

import structlog

log = structlog.get_logger(__name__)


class Reason(StrEnum):
    """Why the broker refused something."""

    FRAMES = "not exactly two frames"
    TOO_LARGE = "too large"
    TOPIC = "topic is empty or not utf-8"
    UNKNOWN_KEY = "unknown or revoked key"
    FORBIDDEN = "not allowed for the role"
    UNREADABLE = "body is not an envelope"
    SOURCE = "source is not the name of the key"
    RATE = "rate limit"
    TOO_MANY = "too many subscriptions"
    PROTOCOL = "not a subscription"
    INTERNAL = "internal error"


OnRefused = Callable[[str, str, str, str], None]
"""Called as (name, action, topic, reason); action is `connect`, `publish` or `subscribe`. It must not block."""


class TokenBucket:
    """`rate` per second, saved up to `burst`. The caller gives the time, in seconds that never go back."""

    __slots__ = ("_burst", "_rate", "_tokens", "_updated")

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate, self._burst = rate, burst
        self._tokens, self._updated = burst, now

    def take(self, now: float) -> bool:
        """Whether one more is within the rate."""
        if now > self._updated:
            self._tokens = min(self._burst, self._tokens + (now - self._updated) * self._rate)
            self._updated = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True


_REPORTS_PER_SECOND: Final = 5.0
_REPORTS_AT_ONCE: Final = 10.0
_BUCKETS: Final = 10_000


class Refusals:
    """Counts every refusal, and reports per client and reason at most a few a second: a flood of forbidden messages
    must not become a flood of log and audit lines. `unreported` counts what was held back."""

    def __init__(self, on_refused: OnRefused | None) -> None:
        self._on_refused = on_refused
        self._buckets: dict[tuple[str, Reason], TokenBucket] = {}
        self.counts: Counter[Reason] = Counter()
        self.unreported = 0

    def add(self, now: float, name: str, action: str, topic: str, reason: Reason) -> bool:
        """One refusal at `now` (monotonic seconds). Returns whether it is within the rate at which they are told of."""
        self.counts[reason] += 1
        bucket = self._buckets.get((name, reason))
        if bucket is None:
            if len(self._buckets) >= _BUCKETS:
                self._buckets.clear()
            bucket = self._buckets[name, reason] = TokenBucket(_REPORTS_PER_SECOND, _REPORTS_AT_ONCE, now)
        if not bucket.take(now):
            self.unreported += 1
            return False
        if self._on_refused is None:
            return True
        try:
            self._on_refused(name, action, topic, reason.value)
        except Exception:
            # A listener's mistake must not turn a refusal into a failure of the broker.
            log.exception("broker.on_refused_failed")
        return True
