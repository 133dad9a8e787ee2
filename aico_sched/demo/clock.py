"""A clock whose wall time is moved, so that cron, which counts in minutes, has something to do in a short demo."""

from aico_sched.clock import SystemClock

MINUTE = 60_000_000


class MovedClock(SystemClock):
    """The machine's clocks, with the wall time `shift_us` microseconds ahead. It runs as fast as any other."""

    def __init__(self, shift_us: int) -> None:
        self.shift_us = shift_us

    def now_us(self) -> int:
        return super().now_us() + self.shift_us


def shift_to_minute(now_us: int, seconds: float) -> int:
    """How many microseconds `now_us` must be moved forward (less than a minute) so that a full minute is `seconds`
    away."""
    return (-int(seconds * 1_000_000) - now_us) % MINUTE
