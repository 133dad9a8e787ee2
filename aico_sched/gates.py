"""Why something that is due must not start now: blackouts, load, idle hours, quiet hours, the circuit breaker.

Pure: time is an argument, `now` in microseconds of the wall clock.
"""

from collections.abc import Sequence
from typing import Final

from aico_sched.execution.breaker import Breaker
from aico_sched.horizon import Item
from aico_sched.planning import longest_defer
from aico_sched.quiet import QuietHours
from aico_sched.schedule import parse_blackout
from aico_sched.security import permissions
from aico_sched.topics.internal import SANDBOX, Load

SECOND: Final = 1_000_000

HELD_FOR: Final = 10.0
"""Seconds after which what is put off is looked at again, if the load does not change before."""

LEAST_HELD: Final = 0.001
"""Seconds; a start whose patience is just over is looked at after it, not in the same instant again."""

ELSEWHERE: Final = ("process", SANDBOX, "cluster")
"""Environments whose code cannot hold this process up. A thread shares its interpreter."""

BREAKER_OPEN: Final = "the event loop was blocked a moment ago and is given a rest (circuit breaker)"


class Gates:
    """What is known of the machine and the user, and what that means for a start. `windows` are the blackouts of tasks
    that name none of their own; `quiet` are the hours for tasks with `low_activity`."""

    def __init__(self, breaker: Breaker, windows: Sequence[str], quiet: QuietHours) -> None:
        self.breaker, self.quiet = breaker, quiet
        self._windows = tuple(windows)
        # Until health has spoken, what is for idle hours waits.
        self.load = Load(0.0, 0.0, 0.0, False, "")

    @property
    def informed(self) -> bool:
        """Whether health has spoken."""
        return bool(self.load.idle or self.load.not_idle)

    def blackout(self, item: Item, now: int) -> tuple[int, str] | None:
        """The blackout that the slot of a task must not start in: when it ends, and its text."""
        if item.task is None:
            return None
        windows = item.task.options.get("blackout")
        if windows is None and self._windows and not permissions.is_system(item.task.task_id):
            windows = self._windows
        return parse_blackout(tuple(windows), item.task.timezone).covering(now) if windows else None

    def closed(self, item: Item, now: int, monotonic: float) -> str:
        """Why this item must not start now; empty if it may, and then it has used up a trial of a half-open breaker."""
        if self.load.constrained:
            return self.load.constrained
        task, run = item.task, item.run
        idle_only = run.idle_only if run is not None else bool(task and task.options.get("idle_only"))
        if idle_only and not self.load.idle:
            return f"the machine is not idle: {self.load.not_idle}"
        if task is not None and task.options.get("low_activity") and not self.quiet.is_quiet(now, task.task_id):
            return f"the user may be active now; {self.quiet.describe_next(now, task.task_id)}"
        if self.breaker.state == "closed":
            return ""
        critical = permissions.is_system(item.task_id)
        on_loop = item.environment not in ELSEWHERE
        return "" if self.breaker.admits(monotonic, critical=critical, on_loop=on_loop) else BREAKER_OPEN

    def patient(self, item: Item, now: int) -> bool:
        """Whether this start may still be put off."""
        return now - item.due_us <= _patience(item)

    def look_again_in(self, item: Item, now: int) -> float:
        """Seconds until it is worth looking again at an item that was put off. The hour in which the user is away is
        known; when the load will change is not."""
        patience_ends = item.due_us + _patience(item)
        if item.task is None or not item.task.options.get("low_activity"):
            left = (patience_ends - now) / SECOND
            return HELD_FOR if left < 0 else min(HELD_FOR, left + LEAST_HELD)
        quiet = self.quiet.next_quiet(now, item.task.task_id)
        return max(HELD_FOR, (min(patience_ends, quiet or patience_ends) - now) / SECOND)


def _patience(item: Item) -> float:
    """Microseconds for which this start may be put off."""
    if item.run is not None:
        return float("inf") if item.run.max_defer is None else item.run.max_defer * SECOND
    assert item.task is not None
    return longest_defer(item.task)
