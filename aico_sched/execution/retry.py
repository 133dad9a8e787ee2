"""Whether and when a failed attempt is tried again."""

from collections.abc import Callable, Collection, Mapping
from typing import Any


def is_permanent(
    error: type[BaseException],
    permanent: Collection[type[BaseException]],
    transient: Collection[type[BaseException]],
    always: Collection[type[BaseException]],
) -> bool:
    """Whether the same attempt would fail the same way.

    A task declares `permanent` and `transient` classes; `always` are those that are permanent by rule. The class
    closest to the error's own decides: of one declared both ways `permanent` counts, and what the task declares counts
    more than the rule.
    """
    for ancestor in error.__mro__:
        if ancestor in permanent:
            return True
        if ancestor in transient:
            return False
        if ancestor in always:
            return True
    return False


def retry_delay(policy: Mapping[str, Any], attempt: int, draw: Callable[[], float]) -> float:
    """Seconds from the failure of `attempt` (the first is 1) to the next one.

    `policy` holds the fields of `topics.commands.RetryPolicy`; `draw` returns a random number in [0, 1), used for
    full jitter (drawn evenly from zero to the exponential delay, as in AWS's "Exponential Backoff And Jitter").
    """
    # Beyond 64 doublings every delay is at its cap, and the power would overflow a float at last.
    longest = float(policy["max_delay"])
    delay = min(longest, float(policy["delay"] * policy["multiplier"] ** min(attempt - 1, 64)))
    return delay * draw() if policy["jitter"] == "full" else delay


def next_attempt_in(
    policy: Mapping[str, Any], attempt: int, *, permanent: bool, draw: Callable[[], float]
) -> float | None:
    """Seconds until the next attempt, or None when there is none: the error is permanent, or it was the last."""
    if permanent or attempt >= policy["max_attempts"]:
        return None
    return retry_delay(policy, attempt, draw)
