"""The circuit breaker of the event loop. Pure: time is an argument, in seconds that never go back.

closed     everything starts                                   → open, when the loop was blocked too often
open       nothing starts, what runs on the loop holds         → half_open, when the open time is over
half_open  a few may start, to see how the loop bears it       → closed, when it bore them, or nobody wanted to start
                                                                 for as long again; open, when it was blocked
"""

from collections import deque
from dataclasses import dataclass
from typing import Literal

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class BreakerRules:
    """It opens at `stalls` within `window` seconds, for `open_time` seconds. Half open, it lets `trials` starts pass,
    those of critical tasks first: others wait `head_start` seconds for one; what runs in another process passes
    besides. It closes `settle` seconds after the last trial."""

    stalls: int = 1
    window: float = 10.0
    open_time: float = 5.0
    trials: int = 3
    head_start: float = 1.0
    settle: float = 1.0


class Breaker:
    """Says what may start. Tell it of each stall, and call `advance` when `wake_at` has come."""

    def __init__(self, rules: BreakerRules) -> None:
        self._rules = rules
        self.state: State = "closed"
        self._stalls: deque[float] = deque(maxlen=rules.stalls)
        self._until = 0.0
        self._left = 0
        self._critical_passed = self._for_all = False

    def stalled(self, now: float) -> bool:
        """The loop was blocked. Returns whether that opened the breaker; one that is open stays so for longer."""
        self._stalls.append(now)
        if self.state == "open":
            self._until = now + self._rules.open_time
            return False
        trips = len(self._stalls) == self._rules.stalls and now - self._stalls[0] <= self._rules.window
        if not trips and self.state == "closed":
            return False
        self.state, self._until = "open", now + self._rules.open_time
        return True

    def advance(self, now: float) -> bool:
        """Let time pass. Returns whether something may start now that could not before."""
        if self.state == "closed" or now < self._until:
            return False
        if self.state == "open":
            self.state, self._left = "half_open", self._rules.trials
            self._critical_passed = self._for_all = False
            self._until = now + self._rules.head_start
        elif self._left == 0 or self._for_all:
            self.state = "closed"
            self._stalls.clear()
        else:
            # From now on anybody may be the next trial.
            self._critical_passed = self._for_all = True
            self._until = now + self._rules.open_time
        return True

    def admits(self, now: float, *, critical: bool, on_loop: bool = True) -> bool:
        """Whether one start may pass now; if so, it has passed. One that is not for the loop is no trial: it says
        nothing of how the loop bears it."""
        if self.state == "closed":
            return True
        if not on_loop and self.state == "half_open":
            return critical or self._critical_passed
        if self.state == "open" or self._left == 0 or not (critical or self._critical_passed):
            return False
        self._left -= 1
        self._critical_passed = True
        if self._left == 0:
            self._until = now + self._rules.settle
        elif self._for_all:
            self._until = max(self._until, now + self._rules.settle)
        return True

    def wake_at(self) -> float:
        """When `advance` has something to do; infinity if only a stall or a start changes anything."""
        return float("inf") if self.state == "closed" else self._until
