"""Being called at a moment to a fraction of a millisecond.

asyncio rounds the time it waits up to whole milliseconds (`selectors.EpollSelector`), so its timers are late by half a
millisecond and more. Linux has timers that are files (timerfd_create(2)), which wake the loop when it is time; Python
has them from 3.13 on, so they are called through ctypes. Elsewhere the loop's own timers do.
"""

import asyncio
import ctypes
import os
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_ABSOLUTE: Final = 1
_NANOSECONDS: Final = 1_000_000_000


class _Setting(ctypes.Structure):
    """`struct itimerspec`: an interval, which is none here, and a moment."""

    _fields_ = (
        ("interval_s", ctypes.c_long),
        ("interval_ns", ctypes.c_long),
        ("seconds", ctypes.c_long),
        ("nanoseconds", ctypes.c_long),
    )


_LIBC: Final = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


class Alarm:
    """Calls `callback` on the running loop once `time.monotonic()` has reached `when`, unless it was cancelled before.
    Raises OSError where the system gives no such timer."""

    __slots__ = ("_callback", "_descriptor", "_loop", "_when")

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        if _LIBC is None:
            raise OSError("no timerfd on this system")
        self._loop, self._when, self._callback = asyncio.get_running_loop(), when, callback
        self._descriptor = _checked(_LIBC.timerfd_create(_CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC))
        try:
            # A moment of zero would never come.
            seconds, nanoseconds = divmod(max(1, int(when * _NANOSECONDS)), _NANOSECONDS)
            setting = _Setting(0, 0, seconds, nanoseconds)
            _checked(_LIBC.timerfd_settime(self._descriptor, _ABSOLUTE, ctypes.byref(setting), None))
            self._loop.add_reader(self._descriptor, self._ring)
        except BaseException:
            os.close(self._descriptor)
            raise

    def _ring(self) -> None:
        if time.monotonic() < self._when:
            # A hair too early, by rounding or where clocks are emulated. The file stays readable: the loop comes again.
            return
        callback = self._callback
        self.cancel()
        callback()

    def cancel(self) -> None:
        """Ring no more; harmless when it has rung."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            with suppress(RuntimeError):
                # The loop may be closed, and has forgotten it then.
                self._loop.remove_reader(descriptor)
            os.close(descriptor)


def _checked(result: int) -> int:
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    return result
