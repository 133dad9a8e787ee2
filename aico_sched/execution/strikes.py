"""What follows when a task blocks the loop again and again. Pure: time is an argument, in microseconds."""

from dataclasses import dataclass
from typing import Literal

SECOND = 1_000_000

Verdict = Literal["warn", "move", "disable"]


@dataclass(frozen=True, slots=True)
class StrikeRules:
    """A task that may run elsewhere is moved off the loop at its `move`th strike, any other is disabled at its
    `disable`th; strikes longer apart than `window` seconds do not add up. 0 never moves, or never disables."""

    move: int = 3
    disable: int = 5
    window: float = 86_400.0


def count_strike(rules: StrikeRules, strikes: int, last_us: int, now_us: int) -> int:
    """How many strikes there are with the one of `now_us`, after `strikes` of which the last was at `last_us`."""
    return strikes + 1 if now_us - last_us <= rules.window * SECOND else 1


def verdict(rules: StrikeRules, strikes: int, *, movable: bool) -> Verdict:
    """What becomes of a task with so many strikes."""
    if movable and rules.move:
        return "move" if strikes >= rules.move else "warn"
    return "disable" if rules.disable and strikes >= rules.disable else "warn"


def better_place(seconds: float, cpu_seconds: float, *, has_process: bool, trusted: bool) -> str:
    """Where to move a task that blocks: a process if it computes, for a thread would still take the interpreter from
    the loop; a thread if it waits. What belongs to the system stays in the process with what it maintains."""
    computes = cpu_seconds >= seconds / 2
    return "process" if computes and has_process and not trusted else "thread"
