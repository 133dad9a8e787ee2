"""When the user is usually away: hours of the week in which work that needs the machine disturbs nobody. Pure.

The hours are those of the user's own clock, numbered from Monday 00:00 (0) to Sunday 23:00 (167).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Self
from zoneinfo import ZoneInfo

HOURS: Final = 168
HOUR_US: Final = 3_600 * 1_000_000
_WINDOW = re.compile(r"([01]\d|2[0-3]):00-([01]\d|2[0-3]):00")
WINDOW_FORM: Final = "whole hours of the day as HH:00-HH:00, such as 02:00-05:00, over midnight too"


def hour_of_week(at_us: int, zone: ZoneInfo) -> int:
    """The hour of the week that `at_us` (microseconds since the epoch, UTC) lies in."""
    local = datetime.fromtimestamp(at_us // 1_000_000, zone)
    return local.weekday() * 24 + local.hour


def hour_start(at_us: int, zone: ZoneInfo) -> int:
    """When the hour of the user's clock that `at_us` lies in began; not every zone's hours begin with those of UTC."""
    local = datetime.fromtimestamp(at_us // 1_000_000, zone)
    return at_us - (local.minute * 60 + local.second) * 1_000_000 - at_us % 1_000_000


@dataclass(frozen=True, slots=True)
class QuietHours:
    """`confidence` is the probability that the user stays away, for each hour of the week; an hour is quiet from
    `threshold` on. `origin` names the model it comes from, `default` where nothing was learned. `seconds` is how long
    a run of a task is expected to take, by task id, as far as that was learned."""

    zone: ZoneInfo
    confidence: tuple[float, ...]
    threshold: float
    origin: str
    seconds: Mapping[str, float]

    @classmethod
    def of_window(cls, window: str, zone: str) -> Self:
        """The same hours each day, held to be quiet. Raises ValueError for what is no window (`WINDOW_FORM`)."""
        match = _WINDOW.fullmatch(window)
        if match is None or match[1] == match[2]:
            raise ValueError(WINDOW_FORM)
        start, length = int(match[1]), (int(match[2]) - int(match[1])) % 24
        confidence = tuple(float((hour % 24 - start) % 24 < length) for hour in range(HOURS))
        return cls(ZoneInfo(zone), confidence, 1.0, "default", {})

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Self:
        """What `plain` made. Raises ValueError for anything else."""
        try:
            confidence = tuple(float(value) for value in plain["confidence"])
            seconds = {str(task): float(value) for task, value in plain["seconds"].items()}
            zone, threshold = ZoneInfo(plain["zone"]), float(plain["threshold"])
            origin = str(plain["origin"])
        except (KeyError, TypeError, AttributeError, OSError) as error:
            raise ValueError(f"no quiet hours: {error!r}") from error
        if len(confidence) != HOURS or not all(0 <= value <= 1 for value in (*confidence, threshold)):
            raise ValueError("quiet hours are 168 probabilities and a threshold, each from 0 to 1")
        return cls(zone, confidence, threshold, origin, seconds)

    def plain(self) -> dict[str, Any]:
        """As plain data, for a message or a file."""
        return {
            "zone": self.zone.key,
            "confidence": list(self.confidence),
            "threshold": self.threshold,
            "origin": self.origin,
            "seconds": dict(self.seconds),
        }

    def is_quiet(self, now_us: int, task_id: str) -> bool:
        """Whether a run of the task that starts now is expected to be over before the user comes back."""
        expected = int(self.seconds.get(task_id, 0.0) * 1_000_000)
        # However long a run takes, a whole day of quiet is not asked for.
        last = now_us + min(expected, 24 * HOUR_US)
        return all(self._quiet(at) for at in (*range(now_us, last, HOUR_US), last))

    def next_quiet(self, now_us: int, task_id: str) -> int | None:
        """The next moment from `now_us` on at which the task may start; None if no hour of the week will do."""
        if self.is_quiet(now_us, task_id):
            return now_us
        this_hour = hour_start(now_us, self.zone)
        later = (this_hour + ahead * HOUR_US for ahead in range(1, HOURS + 1))
        return next((start for start in later if self.is_quiet(start, task_id)), None)

    def describe_next(self, now_us: int, task_id: str) -> str:
        """When it is quiet next for the task, in the user's time."""
        found = self.next_quiet(now_us, task_id)
        if found is None:
            return "no hour of the week is known to be quiet for long enough"
        moment = datetime.fromtimestamp(found // 1_000_000, self.zone)
        today = datetime.fromtimestamp(now_us // 1_000_000, self.zone)
        day = "" if moment.date() == today.date() else moment.strftime("%a ")
        return f"quiet from {day}{moment:%H:%M}"

    def _quiet(self, at_us: int) -> bool:
        return self.confidence[hour_of_week(at_us, self.zone)] >= self.threshold
