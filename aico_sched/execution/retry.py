"""Whether and when a failed attempt is tried again."""

from collections.abc import Callable, Mapping
from typing import Any


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
