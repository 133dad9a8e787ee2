"""A pytest plugin: what fails while the machine was disturbed is run once more, and the summary says so.

Virtual machines are paused and their clocks are set. A test that compares wall times or has a deadline then fails
although nothing is wrong. Which failures those are is measured, never guessed: `reruns` in pyproject.toml applies to
`MachineDisturbed` only, and that is raised only where the wall clock left the monotonic one, or where no thread of
the process ran for seconds, while the test did.
"""

import threading
import time
from collections.abc import Generator

import pytest

STEP = 0.02
"""Seconds by which the wall clock must have been set to count."""

SLEW = 0.0005
"""What a clock that is being corrected may gain or lose in a second without a step (as in `adjtimex`)."""

STALL = 2.0
"""Seconds in which the machine let no thread of ours run."""

TICK = 0.25


class MachineDisturbed(Exception):
    """A test failed while the machine's clock was set or the machine stood still; the failure is its cause."""


class Watch:
    """Notes how far the wall clock was set and how long the process stood still since it was made."""

    def __init__(self, wall: float, monotonic: float) -> None:
        self._wall, self._began, self._seen = wall, monotonic, monotonic
        self._stood_still = 0.0

    def tick(self, monotonic: float) -> None:
        """Called about every `TICK` seconds."""
        self._stood_still = max(self._stood_still, monotonic - self._seen - TICK)
        self._seen = monotonic

    def verdict(self, wall: float, monotonic: float) -> str | None:
        """What happened to the machine until now, or None if nothing that matters did."""
        took = monotonic - self._began
        stepped = (wall - self._wall) - took
        if abs(stepped) > STEP + SLEW * took:
            return f"the wall clock was set by {stepped:+.3f} s"
        if self._stood_still > STALL:
            return f"the machine stood still for {self._stood_still:.1f} s"
        return None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, None, None]:
    watch = Watch(time.time(), time.monotonic())
    ended = threading.Event()

    def look() -> None:
        while not ended.wait(TICK):
            watch.tick(time.monotonic())

    thread = threading.Thread(target=look, name="disturbed", daemon=True)
    thread.start()
    try:
        yield
    except (Exception, pytest.fail.Exception) as error:
        watch.tick(time.monotonic())
        if what := watch.verdict(time.time(), time.monotonic()):
            raise MachineDisturbed(f"{item.name} failed while {what}") from error
        raise
    finally:
        ended.set()
        thread.join()
